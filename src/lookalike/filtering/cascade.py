"""The cascade: detector, realism, novelty, identity consistency, SSIM, near-copies.

An image takes the steps in that order; the first that it fails is its reason. Every image gets all
scores, also the rejected ones, so that another threshold can be weighed without running again; only
diversity, which near-copies lack, is known of what comes so far.
Within a person, images are taken by `image_id`: the order of rows makes no difference. What SSIM
and the search for copies compare an image with is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lookalike.config import FilterConfig, Threshold
from lookalike.data.scores import DIVERSITY, DUPLICATE
from lookalike.errors import UserError
from lookalike.filtering.calibration import Bound, Scores, calibrate, rejection_curve
from lookalike.filtering.copies import diversity_of_real, near_copies
from lookalike.filtering.detector import DETECTOR
from lookalike.filtering.filter import Crops, Detector, Filter, Material
from lookalike.filtering.identity import IDENTITY
from lookalike.filtering.novelty import NOVELTY
from lookalike.filtering.realism import REALISM
from lookalike.filtering.ssim import SSIM
from lookalike.training.session import Session

FILTERS: tuple[Filter, ...] = (DETECTOR, REALISM, NOVELTY, IDENTITY, SSIM)
NO_CURVE = pd.DataFrame({"step": [""], "threshold": [0.0], "rejected": [0.0]}).iloc[:0]


@dataclass(frozen=True)
class CascadeResult:
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
    session: Session | None = None,
) -> CascadeResult:
    """Judge generated crops by bounds that are given or calibrated on real ones.

    What each filter compares says its own file. Of what they leave, near-copies of what is kept are
    left out (`copies.py`), for `duplicate` or `diversity`.

    Args:
        generated: rows of origin person or variation.
        real: the real rows of the splits train and val, at the same size.
        session: its processes share the work, and all get the whole result, which is the one that
            a single process gets. None works alone.

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

    def bound(name: str, threshold: Threshold, score: Callable[[], Scores], real: str) -> float:
        """Calibrate a step on the scores of real images."""
        try:
            on_real = score()
            bounds[name] = calibrate(threshold, on_real, real)
        except ValueError as error:
            raise UserError(f"filter: {name}: {error}; too few images per person?") from error
        curves.append(rejection_curve(on_real).assign(step=name))
        return bounds[name].value

    origins = generated.rows["origin"].to_numpy()
    for step in filters:
        threshold = step.threshold(config)
        everybody = np.ones(len(origins), dtype=np.bool_)
        judged = origins == step.origin if step.origin else everybody
        if threshold is None or (step.origin and not judged.any()):
            continue
        material = Material(generated, reason == "", train, val, detector, session)
        least = bound(step.name, threshold, partial(step.score_real, material), step.real)
        try:
            scores[step.name] = np.where(judged, step.score(material), np.nan)
        except ValueError as error:
            raise UserError(f"filter: {step.name}: {error}") from error
        failed = scores[step.name] < least  # False for NaN
        reason[material.left & failed] = step.name
    least, threshold = -np.inf, config.diversity_threshold
    if threshold is not None:
        real_ones = "real validation images to those before"
        least = bound(DIVERSITY, threshold, partial(diversity_of_real, val), real_ones)
    copies = near_copies(generated, reason == "", config.duplicate_similarity, least, session)
    if threshold is not None:
        scores[DIVERSITY] = copies.diversity
    reason[copies.views], reason[copies.pixels] = DIVERSITY, DUPLICATE

    names = generated.rows["image_id"].to_numpy()
    return CascadeResult(
        generated.rows[reason == ""].reset_index(drop=True),
        pd.DataFrame({"image_id": names, "reason": reason} | scores),
        summarise(generated.rows["person_id"], reason, bounds, config.duplicate_similarity),
        pd.concat([*curves, NO_CURVE], ignore_index=True)[list(NO_CURVE)],
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
    # Near-copies are told apart last: by their pixels, and then by what a re-ID model sees.
    before = [name for name in bounds if name != DIVERSITY]
    for step in (*before, DUPLICATE, *({DIVERSITY} & bounds.keys())):
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
