"""What is known about a candidate: recorded when it is registered, read again by every decision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

import pandas as pd

from lookalike.data.manifest import partners_of
from lookalike.errors import UserError
from lookalike.names import BASELINE
from lookalike.reid.measurement import Measurement

EVIDENCE = "evidence.json"
PERSONS = "persons.json"
FINISHED, LOCKED = "FINISHED", "LOCKED"  # of the run that trained the model


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
