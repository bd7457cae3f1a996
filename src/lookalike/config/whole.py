"""All sections together, and what they ask of each other."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from lookalike.config.arms import ARM_NAME, ArmConfig
from lookalike.config.base import Count, Name, Section
from lookalike.config.data import DataConfig
from lookalike.config.filtering import FilterConfig
from lookalike.config.gan import GanConfig
from lookalike.config.judging import EvaluateConfig, GatesConfig, RegistryConfig
from lookalike.config.reid import ReidConfig
from lookalike.config.synthesis import EncoderConfig, GenerateConfig
from lookalike.names import BASELINE
from lookalike.words import meant


class Config(Section):
    """Everything in params.yaml."""

    profile: Name = "embedded"
    seed: Count = 1
    data: DataConfig = DataConfig()
    reid: ReidConfig = ReidConfig()
    gan: GanConfig = GanConfig()
    encoder: EncoderConfig = EncoderConfig()
    generate: GenerateConfig = GenerateConfig()
    filter: FilterConfig = FilterConfig()
    arms: dict[Annotated[str, Field(pattern=f"^{ARM_NAME}$")], ArmConfig] = Field(
        default_factory=lambda: {
            BASELINE: ArmConfig(images=("none",)),
            "persons": ArmConfig(images=("persons",), batch_share=0.5, own_statistics=True),
            "variations": ArmConfig(images=("variations",), batch_share=0.5, own_statistics=True),
        }
    )
    evaluate: EvaluateConfig = EvaluateConfig()
    gates: GatesConfig = GatesConfig()
    registry: RegistryConfig = RegistryConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.data.source == "rendered" and self.data.rendered is None:
            raise ValueError("data.rendered is needed with data.source: rendered")
        if self.arms.get(BASELINE) != ArmConfig(images=("none",)):
            raise ValueError("arms.baseline must be there, with images: [none] and real: [own]")
        if "own" in self.data.others:
            raise ValueError("data.others: own is the main data set; give the other another name")
        for arm, settings in self.arms.items():
            unknown = sorted({*settings.real} - {"own", *self.data.others})
            if unknown:
                hint = meant(unknown[0], ["own", *self.data.others])
                raise ValueError(f"arms.{arm}.real: no data set {unknown[0]}; {hint}")
            try:
                settings.check(self.reid)
            except ValueError as error:
                raise ValueError(f"arms.{arm}: {error}") from error
        rendered = self.data.rendered if self.data.source == "rendered" else None
        if rendered and rendered.train_persons <= self.data.validation_persons:
            raise ValueError(
                f"data.validation_persons ({self.data.validation_persons}) must leave some of the "
                f"{rendered.train_persons} of data.rendered.train_persons to train on"
            )
        return self
