"""A checkout that was moved or copied: where MLflow's SQLite database says that artifacts are.

MLflow keeps absolute addresses of artifacts. So that a project works wherever it lies, and a copy
writes into itself, the addresses follow the database when it is opened.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

DATABASE, ARTIFACTS = "mlflow.db", "artifacts"  # in `mlruns/`
# Every column of MLflow's schema that holds the address of artifacts; not all versions have all.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)


def artifact_location(mlruns: Path) -> str:
    """Where experiments keep their artifacts, as a URI: MLflow would unquote a plain path."""
    return (mlruns / ARTIFACTS).as_uri()


def relocate(mlruns: Path) -> list[Path]:
    """Point the addresses in `mlruns/mlflow.db` at where that folder lies now, all or none.

    The database itself says where it was: there lie the artifacts of its experiments. Addresses
    outside that folder stay as they are (object stores, other disks).

    Args:
        mlruns: the absolute path of the folder with database and artifacts. What is no database of
            MLflow is left alone.

    Returns:
        Where the folder was, mostly one or none.
    """
    here = artifact_location(mlruns)
    with closing(sqlite3.connect(mlruns / DATABASE, timeout=60)) as database, database:
        try:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            there = {name for (name,) in tables}
        except sqlite3.DatabaseError:
            there = set()  # damaged; who opens it says so
        if "experiments" not in there:
            return []
        found = database.execute(
            "SELECT DISTINCT artifact_location FROM experiments "
            "WHERE artifact_location LIKE ? AND artifact_location != ?",
            (f"file:///%/mlruns/{ARTIFACTS}", here),
        )
        moved = [Path(unquote(urlsplit(uri).path)).parent for (uri,) in found.fetchall()]
        for old in moved:
            # MLflow's own default experiment has a plain path.
            for before, now in ((old.as_uri(), mlruns.as_uri()), (str(old), str(mlruns))):
                for table, column in LOCATIONS:
                    if table in there:
                        database.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                            f"WHERE substr({column}, 1, ?) = ?",
                            (now, len(before) + 1, len(before) + 1, f"{before}/"),
                        )
    return moved
