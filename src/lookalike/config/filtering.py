"""The filters of generated images."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from lookalike.config.base import Fraction, Section, one_of
from lookalike.parts import parts


class Threshold(Section):
    """A score's lower bound: given, or read off real images by an allowed rejection rate."""

    value: Annotated[float, Field(gt=-1e9, lt=1e9)] | None = None
    rejection_rate: Fraction | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.value is None) == (self.rejection_rate is None):
            raise ValueError("give either value or rejection_rate")
        return self


class FilterConfig(Section):
    """The cascade. A filter whose threshold is null is not used."""

    # A module of filtering/detectors/.
    detector: Annotated[str, one_of(parts("lookalike.filtering.detectors"))] = "hog"
    detector_threshold: Threshold | None = Threshold(rejection_rate=0.0645)
    # Against the person's first kept image (the study).
    ssim_threshold: Threshold | None = Threshold(rejection_rate=0.02)
    # Cosine to the person's centroid in re-ID features.
    identity_threshold: Threshold | None = Threshold(rejection_rate=0.05)
    # 1 - highest cosine of a new person's image to a real person's centroid: nobody that is known.
    novelty_threshold: Threshold | None = None
    # Nearness to real images in features that no loss has seen; see filtering/realism.py.
    realism_threshold: Threshold | None = None
    # 1 - highest cosine to an earlier kept image of the person: a near-copy adds nothing.
    diversity_threshold: Threshold | None = None
    # SSIM to an earlier kept image of the person above which an image is a copy, too.
    duplicate_similarity: Annotated[Fraction, Field(gt=0)] = 0.98

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("ssim_threshold", "identity_threshold"):
            threshold = getattr(self, name)
            value = threshold.value if threshold else None
            if value is not None and value > 1:
                raise ValueError(f"{name}.value is {value:g}, and no image has more than 1")
        return self
