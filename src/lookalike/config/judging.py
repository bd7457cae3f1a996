"""How models are measured, judged and named."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from lookalike.config.base import Fraction, Name, Positive, Rate, Section, Weight


class EvaluateConfig(Section):
    """How models are measured; recorded with every result."""

    batch_size: Positive = 64
    flip: bool = False  # average the embeddings of an image and its mirror image
    # Also by k-reciprocal neighbours (Zhong et al. 2017), reported beside the rest.
    rerank: bool = False
    ranks: tuple[Positive, ...] = (1, 5, 10)  # beside 1, which the gates judge


class GatesConfig(Section):
    """Bounds of the promotion gates."""

    min_rank1: Fraction = 0.1
    min_map: Fraction = 0.1
    max_frechet: Rate = 2.0
    pass_rate: tuple[Fraction, Fraction] = (0.2, 0.999)  # band of the filter's pass rate
    min_camera_rank1: Fraction = 0.02
    # Better than the baseline arm by this to be chosen, not worse by it to be promoted.
    baseline_margin: Weight = 0.02
    champion_margin: Weight = 0.01  # how much worse than the champion rank-1 and mAP may be
    max_latency_ms: Rate = 500  # one image through the serving model
    max_size_mb: Rate = 200
    # What to do where there is no champion.
    first_champion: Literal["absolute-only", "never"] = "absolute-only"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.pass_rate[0] > self.pass_rate[1]:
            raise ValueError("pass_rate is a band: the smaller bound comes first")
        return self


class RegistryConfig(Section):
    """Names in MLflow."""

    experiment: Name = "lookalike"
    model: Name = "lookalike-reid"
    # Whether `dvc exp run` may promote, as `dvc repro` does: for those who run everything with it.
    # It registers and judges either way, and changed parameters must be committed either way.
    promote_experiments: bool = False
