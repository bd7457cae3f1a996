"""What is known about a candidate: recorded when it is registered, read again by every decision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from lookalike.artifacts import Evaluated
from lookalike.config import Config
from lookalike.data.manifest import partners_of, test_protocol
from lookalike.errors import UserError
from lookalike.names import BASELINE

EVIDENCE = "evidence.json"
PERSONS = "persons.json"
FINISHED, LOCKED = "FINISHED", "LOCKED"  # of the run that trained the model
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


@dataclass(frozen=True)
class Evidence:
    """Everything the gates judge besides what they measure on the registered model itself.

    Attributes:
        evaluation: on the test persons.
        baseline: the same of the baseline arm; None in evidence that an older version recorded.
        persons: real ones that any network saw in training, on the way to this model, sorted; None
            in evidence that an older version recorded.
        weights_md5, locked_md5: of the weights file, and what dvc.lock says it should be.
        run_status: of the MLflow run that trained the model; LOCKED where this store has no such
            run, and `dvc.lock` holds the model and its run.json as outputs of one stage. DVC locks
            what a stage wrote only after it ended well.
        data_valid: the verdict of `validate`.
        git_sha, uncommitted: the commit, and what differed from it.
        leaks: held-out persons and images that each network (gan, encoder, reid) saw.
        frechet: the generator's Frechet distance to the training images.
        pass_rates: share of generated images that the filter kept, by kind.
    """

    evaluation: Measurement
    weights_md5: str
    locked_md5: str | None
    run_status: str | None
    data_valid: bool | None
    git_sha: str
    uncommitted: tuple[str, ...]
    leaks: Mapping[str, tuple[str, ...]]
    frechet: float | None
    pass_rates: Mapping[str, float] = field(default_factory=dict)
    baseline: Measurement | None = None
    persons: tuple[str, ...] | None = None

    def write(self, folder: Path) -> None:
        """Write `evidence.json`, `persons.json`, and both evaluations."""
        self.evaluation.write(folder)
        if self.baseline is not None:
            self.baseline.write(folder / BASELINE)
        if self.persons is not None:
            (folder / PERSONS).write_text(json.dumps(self.persons) + "\n")
        apart = ("evaluation", "baseline", "persons")
        record = {key: value for key, value in vars(self).items() if key not in apart}
        (folder / EVIDENCE).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote; what another version wrote beside is left out.

        Raises:
            UserError: a file is missing or has other content.
        """
        try:
            record = json.loads((folder / EVIDENCE).read_text())
            record["uncommitted"] = tuple(record["uncommitted"])
            record["leaks"] = {k: tuple(v) for k, v in record["leaks"].items()}
            known = {f.name: record[f.name] for f in fields(cls) if f.name in record}
            place = folder / BASELINE
            baseline = Measurement.read(place) if place.is_dir() else None
            persons = read_persons(folder)
            measured = Measurement.read(folder)
            return cls(evaluation=measured, baseline=baseline, persons=persons, **known)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder} holds no evidence of lookalike: {error}") from error


def read_persons(folder: Path) -> tuple[str, ...] | None:
    """Of the evidence in a folder: the real persons that its model has seen; None if not known."""
    path = folder / PERSONS
    return tuple(json.loads(path.read_text())) if path.is_file() else None


def persons_seen(training: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """Real persons that a re-ID model has seen, in images of them or of those made after them.

    Args:
        training: rows that each network (`gan`, `encoder`, `reid`) was trained on. The first two
            count where `reid` has generated rows.
    """
    rows = training["reid"]
    networks = ["reid"] if (rows["origin"] == "real").all() else list(training)
    parts = [training[network] for network in networks]
    return tuple(
        sorted({p for part in parts for p in part[part["origin"] != "person"]["person_id"]})
    )


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


def leaked(
    training: Mapping[str, pd.DataFrame], manifest: pd.DataFrame
) -> dict[str, tuple[str, ...]]:
    """Held-out persons and images in what each network was trained on, sorted.

    Held out is every real image outside the splits train and other (validation identities choose
    the winner, so they count), and every person of the splits val, query and gallery. A generated
    row leaks through the real images that it was made from: its `source_image` and those in its
    `recipe`.

    Args:
        training: rows that each network (`gan`, `encoder`, `reid`) was trained on. Rows generated
            from seeds count through the GAN's own rows.
        manifest: every real image with its split.
    """
    outside = manifest[~manifest["split"].isin(["train", "other"])]
    persons = set(outside.loc[outside["split"].isin(["val", "query", "gallery"]), "person_id"])
    images = set(outside["image_id"])
    digests = dict(zip(outside["sha256"], outside["image_id"], strict=True))
    found = {}
    for network, rows in training.items():
        partners = partners_of(rows["recipe"]).explode().dropna()
        used = set(rows["image_id"]) | set(rows["source_image"]) | set(partners)
        leaks = {f"person {p}" for p in set(rows["person_id"]) & persons}
        leaks |= {f"image {i}" for i in used & images}
        leaks |= {f"image {digests[d]}" for d in set(rows["sha256"]) & digests.keys()}
        found[network] = tuple(sorted(leaks))
    return found
