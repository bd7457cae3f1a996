"""A real database of MLflow, at one place and then at another."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.relocation import LOCATIONS, relocate
from lookalike.store import connect, settle, tracking_uri

CONFIG = Config()


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)  # MLflow's own default experiment belongs to the working directory


def addresses(root: Path) -> dict[str, str]:
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as database:
        found = database.execute("SELECT name, artifact_location FROM experiments")
        return dict(found.fetchall())


def columns(root: Path) -> set[tuple[str, str]]:
    """Those that hold addresses of artifacts, by their names; archives of traces lie elsewhere."""
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as database:
        found = database.execute(
            "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c "
            "WHERE m.type = 'table' AND c.name NOT LIKE '%archiv%' "
            "AND (c.name LIKE '%artifact_uri' OR c.name LIKE '%_location')"
        )
        return set(found.fetchall())


def test_addresses_follow_and_foreign_ones_stay(tmp_path: Path) -> None:
    old, new = tmp_path / "Anna's 100% #1", tmp_path / "$HOME ü"
    old.mkdir()
    client = connect(CONFIG, old).client
    neighbour = f"{old.as_uri()}/mlruns2/artifacts"
    client.create_experiment("elsewhere", artifact_location="s3://bucket/mlruns/artifacts")
    client.create_experiment("neighbour", artifact_location=neighbour)
    client.create_experiment("by hand", artifact_location=str(old / "mlruns" / "1"))
    run = client.create_run(connect(CONFIG, old).experiment_id)
    model = client.create_logged_model(run.info.experiment_id, "m", run.info.run_id)

    old.rename(new)
    assert relocate(new / "mlruns") == [old / "mlruns"]
    assert relocate(new / "mlruns") == []
    found = addresses(new)
    assert found["elsewhere"] == "s3://bucket/mlruns/artifacts"
    assert found["neighbour"] == neighbour
    assert found["by hand"] == str(new / "mlruns" / "1")
    here = found[CONFIG.registry.experiment]
    assert here == (new / "mlruns" / "artifacts").as_uri()
    client = connect(CONFIG, new).client
    assert client.get_run(run.info.run_id).info.artifact_uri.startswith(f"{here}/")
    assert client.get_logged_model(model.model_id).artifact_location.startswith(f"{here}/")
    assert columns(new) <= set(LOCATIONS), "MLflow's schema has another column with an address"


def test_what_is_no_database_is_left_to_who_opens_it(tmp_path: Path) -> None:
    settle(tmp_path)
    assert not (tmp_path / "mlruns").exists()
    (tmp_path / "mlruns").mkdir()
    for content in (b"", b"this is no database" * 100):
        (tmp_path / "mlruns" / "mlflow.db").write_bytes(content)
        assert relocate(tmp_path / "mlruns") == []
        assert (tmp_path / "mlruns" / "mlflow.db").read_bytes() == content


def test_a_path_that_mlflow_would_cut_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rename"):
        tracking_uri(tmp_path / "why?")
