"""The filters of generated images."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lookalike.config.base import Fraction, Section


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
    """The cascade: pedestrian detector, SSIM, identity, near-duplicates."""

    detector: Literal["hog", "yolov4-tiny"] = "hog"
    detector_threshold: Threshold = Threshold(rejection_rate=0.0645)
    # Against the person's first kept image (the study).
    ssim_threshold: Threshold = Threshold(rejection_rate=0.02)
    # Cosine to the person's centroid in re-ID features.
    identity_threshold: Threshold = Threshold(rejection_rate=0.05)
    # SSIM above which a twin is dropped.
    duplicate_similarity: Annotated[Fraction, Field(gt=0)] = 0.98

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("ssim_threshold", "identity_threshold"):
            value = getattr(self, name).value
            if value is not None and value > 1:
                raise ValueError(f"{name}.value is {value:g}, and no image has more than 1")
        return self
