"""The manifest: one table for every image, real or synthetic.

Each stage reads and writes manifests (Parquet), so any image in a training set can be traced to
the command that made it. A row's image lies either loose on disk (`archive` empty, `member` a path
relative to the repository root) or in an uncompressed zip (`archive` relative to the root).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lookalike.errors import UserError
from lookalike.files import replacing

# other: training images of another data set than the main one, for arms that ask for them.
SPLITS = ("train", "val", "query", "gallery", "distractor", "junk", "other")
ORIGINS = ("real", "person", "variation")

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),  # unique in a pipeline; no blank, colon or comma
        ("person_id", pa.string()),  # "0001", "duke/0001" of split other, "syn-000001" new
        ("camera_id", pa.int32()),  # from 1; 0 for synthetic images
        ("split", pa.string()),  # one of SPLITS
        ("origin", pa.string()),  # one of ORIGINS
        ("archive", pa.string()),  # "" for a loose file
        ("member", pa.string()),
        ("width", pa.int32()),  # pixels, as shown: turned upright
        ("height", pa.int32()),
        ("sha256", pa.string()),  # of the encoded bytes
        # Provenance of synthetic rows; empty for real ones.
        ("seed", pa.int64()),  # -1 for real images
        ("recipe", pa.string()),  # "mix:medium:psi=0.7:with=17", "interpolate:0.4:with=<image_id>"
        ("layer_group", pa.string()),  # coarse, medium, fine or ""
        ("source_image", pa.string()),  # image_id of the real image a variation comes from
        ("generator", pa.string()),  # sha256 of the generator's file
    ]
)
DEFAULTS: dict[str, str | int] = {
    "archive": "",
    "seed": -1,
    "recipe": "",
    "layer_group": "",
    "source_image": "",
    "generator": "",
}


def new_manifest(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Build a manifest from rows; columns with a default may be absent.

    Raises:
        ValueError: a required column is missing, or a column is unknown.
    """
    frame = pd.DataFrame(rows, columns=None if rows else pd.Index(SCHEMA.names))
    unknown = sorted(set(frame.columns) - set(SCHEMA.names))
    if unknown:
        raise ValueError(f"unknown manifest columns: {', '.join(unknown)}")
    absent = [name for name in SCHEMA.names if name not in frame.columns]
    for name in absent:
        if name not in DEFAULTS:
            raise ValueError(f"manifest column {name} is missing")
    frame = frame.assign(**{name: DEFAULTS[name] for name in absent})
    table = pa.Table.from_pandas(frame[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    manifest: pd.DataFrame = table.to_pandas()
    return manifest


def write_manifest(frame: pd.DataFrame, path: Path) -> None:
    """Write atomically, the same bytes for the same rows."""
    write_table(
        pa.Table.from_pandas(frame[SCHEMA.names], schema=SCHEMA, preserve_index=False), path
    )


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet atomically, the same bytes for the same table."""
    table = table.replace_schema_metadata(None)  # pandas' metadata holds library versions
    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest and check its columns.

    Raises:
        UserError: the file is missing, is no Parquet, or has other columns.
    """
    if not path.is_file():
        raise UserError(f"no manifest at {path}; run `dvc repro` to make it")
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from error
    if table.schema.names != SCHEMA.names:
        raise UserError(f"{path} is not a manifest: its columns are {table.schema.names}")
    manifest: pd.DataFrame = table.cast(SCHEMA).to_pandas()
    return manifest


def validation_protocol(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Queries and gallery made of the validation persons, Market-1501's way.

    One query per person and camera (the first by image_id), the rest is the gallery.
    """
    val = frame[frame["split"] == "val"].sort_values("image_id")
    is_query = ~val.duplicated(["person_id", "camera_id"])
    return val[is_query].reset_index(drop=True), val[~is_query].reset_index(drop=True)


def test_protocol(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Queries and gallery of the test persons; distractors stay in, junk stays out."""
    query = frame[frame["split"] == "query"].sort_values("image_id")
    gallery = frame[frame["split"].isin(["gallery", "distractor"])].sort_values("image_id")
    return query.reset_index(drop=True), gallery.reset_index(drop=True)


def partners_of(recipes: pd.Series) -> pd.Series:
    """What each recipe of a manifest's rows names behind `with=`, a list each: seeds or image_ids.

    The whole grammar is in `synthesis.recipes`; this reads the one part that says whose image is in
    another.
    """
    return recipes.str.findall(r"with=([^:,\s]+)")
