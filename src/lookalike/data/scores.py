"""What the filters found of each generated image: a table beside the manifest, keyed by `image_id`.

One float column per filter, called after it, and the `reason` for which an image is left out: the
first filter that rejects it, or "duplicate"; "" where it is kept. NaN is a score that an image
cannot have. The manifest knows nothing of this, so a new filter changes no other table.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lookalike.data.manifest import write_table
from lookalike.errors import UserError

KEYS = ("image_id", "reason")
# The search for near-copies, which comes last: by their pixels, then by what a re-ID model sees.
DUPLICATE, DIVERSITY = "duplicate", "diversity"


def score_names(scores: pd.DataFrame) -> list[str]:
    """The filters, in their order."""
    return [str(name) for name in scores.columns if name not in KEYS]


def reasons(scores: pd.DataFrame) -> list[str]:
    """Why images were left out, in the order in which they met the filters."""
    steps = score_names(scores)
    if DIVERSITY in steps:
        steps.remove(DIVERSITY)
    met = set(scores["reason"]) - {""}
    order = dict.fromkeys([*steps, DUPLICATE, DIVERSITY, *sorted(met)])
    return [step for step in order if step in met]


def write_scores(scores: pd.DataFrame, path: Path) -> None:
    """Write atomically, the same bytes for the same rows."""
    names = score_names(scores)
    fields = [*((key, pa.string()) for key in KEYS), *((name, pa.float64()) for name in names)]
    frame = scores[[*KEYS, *names]]
    write_table(pa.Table.from_pandas(frame, pa.schema(fields), preserve_index=False), path)


def read_scores(path: Path) -> pd.DataFrame:
    """Read what `write_scores` wrote.

    Raises:
        UserError: the file is missing, is no Parquet, or holds something else.
    """
    if not path.is_file():
        raise UserError(f"no scores at {path}; run `dvc repro` to make them")
    try:
        schema = pq.read_schema(path)
        floats = all(pa.types.is_float64(schema.field(name).type) for name in schema.names[2:])
        if tuple(schema.names[:2]) != KEYS or not floats:
            raise UserError(f"{path} holds no scores: its columns are {schema.names}")
        scores: pd.DataFrame = pq.read_table(path).to_pandas()
    except pa.ArrowException as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from error
    return scores
