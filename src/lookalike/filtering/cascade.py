"""The cascade: pedestrian detector, SSIM, identity consistency, near-duplicates.

An image takes the steps in that order; the first that it fails is its reason. Every image gets all
scores, also the rejected ones, so that another threshold can be weighed without running again.
Within a person, images are taken by `image_id`: the order of rows makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lookalike.config import FilterConfig
from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.filtering.calibration import Bound, Scores, calibrate, rejection_curve
from lookalike.filtering.detectors import Detector
from lookalike.filtering.identity import similarity_to_others, similarity_to_real
from lookalike.filtering.ssim import luma, pairwise_ssim, ssim_to
from lookalike.progress import track

STEPS = ("detector", "ssim", "identity", "duplicate")
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Crops:
    """Manifest rows with their pixels and re-ID embeddings, in the same order.

    Attributes:
        rows: manifest.
        images: uint8 [N, H, W, 3].
        embeddings: float32 [N, D], unit length.
    """

    rows: pd.DataFrame
    images: Images
    embeddings: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        assert len(self.rows) == len(self.images) == len(self.embeddings)

    def where(self, mask: Mask) -> Crops:
        """The rows that `mask` marks."""
        return Crops(self.rows[mask], self.images[mask], self.embeddings[mask])

    @property
    def persons(self) -> npt.NDArray[np.object_]:
        """person_id of each row."""
        return self.rows["person_id"].to_numpy(dtype=object)


@dataclass(frozen=True)
class Filtered:
    """What `filter_manifest` found.

    Attributes:
        manifest: the generated rows with scores, verdict and reason.
        summary: counts, pass rate, bound and calibration of every step; JSON as it stands.
        curves: share of the real images that a bound would reject: step, threshold, rejected.
    """

    manifest: pd.DataFrame
    summary: dict[str, Any]
    curves: pd.DataFrame


def filter_manifest(
    generated: Crops, real: Crops, detector: Detector, config: FilterConfig
) -> Filtered:
    """Judge generated crops by bounds that are given or calibrated on real ones.

    - Detector: the score of the crop; calibrated on the train rows.
    - SSIM: to the person's first image that is kept, which is the first that the detector and
      identity pass. The study compares with the first that its other filter, a detector, has left;
      an image that is left out is no measure of the others. Calibrated on the train rows, each
      against its person's first.
    - Identity: of a variation, cosine to the centroid of its source person's real train images; of
      a new person, to the centroid of the person's other images that pass the detector (NaN, and
      passed, where there is no other). Calibrated on the *validation* rows: the re-ID model has
      learnt the train persons by heart and would ask too much of an image it has not seen.
    - Duplicate: SSIM above `duplicate_similarity` to an image of the same person kept before.

    Args:
        generated: rows of origin person or variation.
        real: the real rows of the splits train and val, at the same size.

    Raises:
        UserError: train or val rows are lacking, or a variation's person has no real image.
    """
    train = real.where((real.rows["split"] == "train").to_numpy())
    val = real.where((real.rows["split"] == "val").to_numpy())
    if not len(train.rows) or not len(val.rows):
        raise UserError("filtering needs real train and val images to calibrate on; see `prepare`")

    everyone = np.ones(len(train.rows), dtype=bool)
    first = _first_images(train, everyone)
    later = first != np.arange(len(first))  # a first image's likeness to itself says nothing
    likeness = similarity_to_others(val.embeddings, val.persons, np.ones(len(val.rows), bool))
    real_scores = {
        "detector": detector.score(train.images),
        "ssim": ssim_to(train.images, first.tolist())[later],
        "identity": likeness[~np.isnan(likeness)],
    }
    try:
        bounds = {
            "detector": calibrate(
                config.detector_threshold, real_scores["detector"], "real train images"
            ),
            "ssim": calibrate(
                config.ssim_threshold, real_scores["ssim"], "real train images to the first"
            ),
            "identity": calibrate(
                config.identity_threshold, real_scores["identity"], "real validation images"
            ),
        }
    except ValueError as error:
        raise UserError(f"filter: {error}; too few images per person?") from error

    scores: dict[str, Scores] = {"detector": detector.score(generated.images)}
    found = scores["detector"] >= bounds["detector"].value
    identity = _identity(generated, train, found)
    kept = found & ~(identity < bounds["identity"].value)  # NaN passes
    scores["ssim"] = ssim_to(generated.images, _first_images(generated, kept).tolist())
    scores["identity"] = identity
    reason = np.full(len(generated.rows), "", dtype=object)
    for step, bound in bounds.items():
        failed = scores[step] < bound.value  # False for NaN
        reason[(reason == "") & failed] = step
    reason[_duplicates(generated, reason == "", config.duplicate_similarity)] = "duplicate"

    manifest = generated.rows.copy()
    manifest["detector_score"] = scores["detector"]
    manifest["ssim"] = scores["ssim"]
    manifest["identity_similarity"] = scores["identity"]
    manifest["verdict"] = np.where(reason == "", "kept", "rejected")
    manifest["reason"] = reason
    curves = [rejection_curve(values).assign(step=step) for step, values in real_scores.items()]
    return Filtered(
        manifest,
        summarise(manifest, bounds, config.duplicate_similarity),
        pd.concat(curves, ignore_index=True)[["step", "threshold", "rejected"]],
    )


def summarise(
    manifest: pd.DataFrame, bounds: dict[str, Bound], duplicate_similarity: float
) -> dict[str, Any]:
    """Counts and pass rates of a filtered manifest; a step's rate is of those that reached it."""
    reached = len(manifest)
    steps: dict[str, dict[str, Any]] = {}
    for step in STEPS:
        passed = reached - int((manifest["reason"] == step).sum())
        steps[step] = {
            "reached": reached,
            "passed": passed,
            "pass_rate": passed / reached if reached else 0.0,
        }
        if bound := bounds.get(step):
            steps[step] |= {
                "threshold": bound.value,
                "how": bound.how,
                "real_rejected": bound.real_rejected,
            }
        else:
            steps[step] |= {"threshold": duplicate_similarity, "how": "given"}
        reached = passed
    kept = manifest[manifest["verdict"] == "kept"]
    return {
        "images": len(manifest),
        "kept": len(kept),
        "pass_rate": len(kept) / len(manifest) if len(manifest) else 0.0,
        "persons": int(manifest["person_id"].nunique()),
        "persons_kept": int(kept["person_id"].nunique()),
        "steps": steps,
    }


def _groups(crops: Crops) -> list[npt.NDArray[np.intp]]:
    """Positions of each person's rows, in the order of `image_id`."""
    table = crops.rows[["person_id", "image_id"]].reset_index(drop=True)
    table = table.sort_values(["person_id", "image_id"])
    return [rows.index.to_numpy() for _, rows in table.groupby("person_id", sort=True)]


def _first_images(crops: Crops, eligible: Mask) -> npt.NDArray[np.intp]:
    """For each row the position of its person's first eligible image, else the very first."""
    first = np.empty(len(crops.rows), dtype=np.intp)
    for rows in _groups(crops):
        candidates = rows[eligible[rows]]
        first[rows] = candidates[0] if len(candidates) else rows[0]
    return first


def _identity(generated: Crops, train: Crops, found: Mask) -> Scores:
    scores = similarity_to_others(generated.embeddings, generated.persons, found)
    varied = (generated.rows["origin"] == "variation").to_numpy()
    if varied.any():
        variations = generated.where(varied)
        try:
            scores[varied] = similarity_to_real(
                variations.embeddings, variations.persons, train.embeddings, train.persons
            )
        except ValueError as error:
            raise UserError(f"filter: {error}; does its manifest belong to this data?") from error
    return scores


def _duplicates(crops: Crops, candidates: Mask, similarity: float) -> npt.NDArray[np.intp]:
    """Positions of candidates too similar to an earlier candidate of the person that is kept."""
    dropped = []
    for rows in track(_groups(crops), "near-duplicates"):
        rows = rows[candidates[rows]]
        if len(rows) < 2:
            continue
        alike = pairwise_ssim(luma(crops.images[rows])) > similarity
        kept: list[int] = []
        for position, row in enumerate(rows):
            if alike[position, kept].any():
                dropped.append(row)
            else:
                kept.append(position)
    return np.array(dropped, dtype=np.intp)
