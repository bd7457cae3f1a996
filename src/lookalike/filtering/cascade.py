"""The cascade: pedestrian detector, identity consistency, SSIM, near-duplicates.

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
from lookalike.errors import UserError
from lookalike.filtering.calibration import Bound, Scores, calibrate, rejection_curve
from lookalike.filtering.detectors import DETECTOR
from lookalike.filtering.filter import Crops, Detector, Filter, Mask, Material
from lookalike.filtering.identity import IDENTITY
from lookalike.filtering.ssim import SSIM, luma, pairwise_ssim
from lookalike.progress import track

FILTERS: tuple[Filter, ...] = (DETECTOR, IDENTITY, SSIM)
DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Filtered:
    """What `filter_manifest` found.

    Attributes:
        kept: the generated rows that no step rejects.
        scores: of every generated row, in its order, with the reason; see `data.scores`.
        summary: counts, pass rate, bound and calibration of every step; JSON as it stands.
        curves: share of the real images that a bound would reject: step, threshold, rejected.
    """

    kept: pd.DataFrame
    scores: pd.DataFrame
    summary: dict[str, Any]
    curves: pd.DataFrame


def filter_manifest(
    generated: Crops,
    real: Crops,
    detector: Detector,
    config: FilterConfig,
    filters: tuple[Filter, ...] = FILTERS,
) -> Filtered:
    """Judge generated crops by bounds that are given or calibrated on real ones.

    What each filter compares says its own file. Of what they leave, an image is a duplicate whose
    SSIM to an earlier image of its person that is kept is above `duplicate_similarity`.

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

    reason = np.full(len(generated.rows), "", dtype=object)
    scores: dict[str, Scores] = {}
    bounds: dict[str, Bound] = {}
    curves: list[pd.DataFrame] = []
    for step in filters:
        threshold = step.threshold(config)
        if threshold is None:
            continue
        material = Material(generated, reason == "", train, val, detector)
        on_real = step.score_real(material)
        try:
            bounds[step.name] = calibrate(threshold, on_real, step.real)
        except ValueError as error:
            raise UserError(f"filter: {step.name}: {error}; too few images per person?") from error
        curves.append(rejection_curve(on_real).assign(step=step.name))
        scores[step.name] = step.score(material)
        failed = scores[step.name] < bounds[step.name].value  # False for NaN
        reason[material.left & failed] = step.name
    reason[_duplicates(generated, reason == "", config.duplicate_similarity)] = DUPLICATE

    names = generated.rows["image_id"].to_numpy()
    return Filtered(
        generated.rows[reason == ""].reset_index(drop=True),
        pd.DataFrame({"image_id": names, "reason": reason} | scores),
        summarise(generated.rows["person_id"], reason, bounds, config.duplicate_similarity),
        pd.concat(curves, ignore_index=True)[["step", "threshold", "rejected"]],
    )


def summarise(
    persons: pd.Series,
    reason: npt.NDArray[np.object_],
    bounds: dict[str, Bound],
    duplicate_similarity: float,
) -> dict[str, Any]:
    """Counts and pass rates of a person and a reason per image; rates are of those reached."""
    reached = len(reason)
    steps: dict[str, dict[str, Any]] = {}
    for step in (*bounds, DUPLICATE):
        passed = reached - int((reason == step).sum())
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
    kept = reason == ""
    return {
        "images": len(reason),
        "kept": int(kept.sum()),
        "pass_rate": float(kept.mean()) if len(reason) else 0.0,
        "persons": int(persons.nunique()),
        "persons_kept": int(persons[kept].nunique()),
        "steps": steps,
    }


def _duplicates(crops: Crops, candidates: Mask, similarity: float) -> npt.NDArray[np.intp]:
    """Positions of candidates too similar to an earlier candidate of the person that is kept."""
    dropped = []
    for rows in track(crops.by_person(), "near-duplicates"):
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
