"""An evaluation as it is kept: the figures, a row per query, and what makes two comparable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from lookalike.artifacts import Evaluated
from lookalike.config import Config
from lookalike.data.manifest import test_protocol
from lookalike.errors import UserError

PER_QUERY_COLUMNS = ("image_id", "person_id", "camera_id", "ap", "rank_1")


@dataclass(frozen=True)
class Measurement:
    """A model measured on the test persons.

    Attributes:
        fingerprint: of the evaluation data and settings; only equal ones can be compared.
        metrics: `rank_1`, `mAP`, ... as fractions of 1.
        per_query: a row per query: `image_id`, `person_id`, `camera_id`, `ap` in [0, 1],
            `rank_1` 0 or 1; NaN in both where the query has no match.
    """

    fingerprint: str
    metrics: Mapping[str, float]
    per_query: pd.DataFrame

    @property
    def rank_1_by_camera(self) -> dict[str, float]:
        """Rank-1 of each camera's valid queries; NaN for a camera without any."""
        by_camera = self.per_query.groupby("camera_id")["rank_1"].mean()
        return {str(camera): float(value) for camera, value in by_camera.items()}

    def write(self, folder: Path) -> None:
        """Write `metrics.json` (with the fingerprint) and `per_query.parquet`."""
        folder.mkdir(parents=True, exist_ok=True)
        record = {"fingerprint": self.fingerprint, **self.metrics}
        Evaluated(folder).metrics.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
        self.per_query.to_parquet(Evaluated(folder).per_query, index=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote; numbers in `metrics.json` are metrics, the rest is ignored.

        Raises:
            UserError: a file is missing or has other content.
        """
        made = Evaluated(folder)
        try:
            record = json.loads(made.metrics.read_text())
            per_query = pd.read_parquet(made.per_query, columns=list(PER_QUERY_COLUMNS))
            fingerprint = str(record["fingerprint"])
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{folder} holds no evaluation ({error}); run `dvc repro`") from error
        metrics = {k: float(v) for k, v in record.items() if isinstance(v, int | float)}
        return cls(fingerprint, metrics, per_query)


def evaluation_fingerprint(manifest: pd.DataFrame, config: Config) -> str:
    """Twelve hexadecimal digits for the test images, their labels and how they are measured.

    Of the settings, those count that change what the gates compare: flip averaging. Images are
    decoded at each network's own input size, which is a property of the model as its weights are.
    """
    digest = hashlib.sha256()
    for frame in test_protocol(manifest):
        columns = ["image_id", "person_id", "camera_id", "split", "sha256"]
        digest.update(frame[columns].to_csv(index=False).encode())
    settings = (config.evaluate.flip, "decoded at the network's size")
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()[:12]


def per_query_frame(
    queries: pd.DataFrame, ap: np.ndarray, first_match_rank: np.ndarray
) -> pd.DataFrame:
    """A ranking's vectors as the table that gates compare.

    Args:
        queries: manifest rows, in the ranking's order.
        ap: float [Q]; NaN where the query is invalid.
        first_match_rank: int [Q], from 1; -1 where the query is invalid.
    """
    frame = queries[["image_id", "person_id", "camera_id"]].reset_index(drop=True)
    frame["ap"] = ap
    frame["rank_1"] = np.where(first_match_rank > 0, first_match_rank == 1, np.nan)
    return frame
