"""What is studied, as `evidence/study.yaml` says: arms at amounts of images, and seeds.

An arm is written as in `params.yaml`, with three additions. One of its limits may be a list: the
*amounts* at which the arm is measured. An arm may be an *oracle*: rendered images stand in for
the generated ones, so that what perfect images would bring is known, too. And it may take what the
filters have rejected beside what they kept, so that what they bring is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from lookalike.config import (
    ARM_NAME,
    ArmConfig,
    Config,
    ReidConfig,
    Section,
    checked,
    read_yaml,
)
from lookalike.config.base import Count, Positive
from lookalike.errors import UserError
from lookalike.names import BASELINE
from lookalike.profiles import merged
from lookalike.words import meant

LIMITS = ("max_persons", "max_images_per_person")

Amounts = Annotated[tuple[Positive, ...], Field(min_length=1)]


class StudyArm(Section):
    """An arm of `params.yaml`, whose other keys are kept as they are, at one amount or several."""

    model_config = ConfigDict(extra="allow")

    oracle: bool = False  # rendered images in place of the generated ones
    filtered: bool = True  # without those that the filters rejected
    max_persons: Positive | Amounts | None = None
    max_images_per_person: Positive | Amounts | None = None

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if isinstance(self.max_persons, tuple) and isinstance(self.max_images_per_person, tuple):
            raise ValueError(f"{' and '.join(LIMITS)} are both lists; one amount varies at a time")
        if self.oracle and not self.filtered:
            raise ValueError("oracle images meet no filter; leave out filtered")
        return self

    def expanded(self) -> list[tuple[int | None, dict[str, Any]]]:
        """Each amount, the smallest first, with the keys of an `ArmConfig` that has it."""
        limits = {name: getattr(self, name) for name in LIMITS}
        keys = (self.model_extra or {}) | limits
        for name, limit in limits.items():
            if isinstance(limit, tuple):
                return [(amount, keys | {name: amount}) for amount in sorted(set(limit))]
        return [(None, keys)]


class StudyFile(Section):
    """The content of `study.yaml`."""

    seeds: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 3, 4, 5)
    # Keys of reid that differ from params.yaml's: a study trains longer than a demonstration.
    reid: dict[str, Any] = Field(default_factory=dict)
    # Rendered test persons beside those of the data, who are few: more make narrower intervals.
    more_test_persons: Count = 0
    # Beside the baseline, which is always measured.
    arms: Annotated[
        dict[Annotated[str, Field(pattern=f"^{ARM_NAME}$")], StudyArm], Field(min_length=1)
    ]

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("name each seed once")
        return seeds

    @model_validator(mode="after")
    def _baseline_is_implied(self) -> Self:
        if BASELINE in self.arms:
            raise ValueError("arms: the baseline is always measured; leave it out")
        return self


@dataclass(frozen=True)
class Setting:
    """One arm at one amount.

    Attributes:
        arm: its name in the file.
        amount: the limit that the file has a list of; None where it has none.
        config: the arm with that limit.
        oracle: whether its images are rendered.
        filtered: whether what the filters rejected is left out.
    """

    arm: str
    amount: int | None
    config: ArmConfig
    oracle: bool = False
    filtered: bool = True

    @property
    def name(self) -> str:
        """`persons-30`, or the arm's name alone."""
        return self.arm if self.amount is None else f"{self.arm}-{self.amount}"


@dataclass(frozen=True)
class Study:
    """A study whose every key has been checked against the parameters."""

    seeds: tuple[int, ...]
    reid: ReidConfig
    more_test_persons: int
    settings: tuple[Setting, ...]  # the baseline first


def load_study(path: Path, config: Config) -> Study:
    """Read and check a study.

    Args:
        path: the YAML file.
        config: the parameters that it starts from.

    Raises:
        UserError: the file is missing or wrong; says where.
    """
    if not path.is_file():
        raise UserError(f"no study at {path}; evidence/study.yaml is one to start from")
    file = checked(StudyFile, read_yaml(path), str(path))
    reid = checked(ReidConfig, merged(config.reid.model_dump(), file.reid), f"{path}: reid")
    settings = [Setting(BASELINE, None, config.arms[BASELINE])]
    for name, arm in file.arms.items():
        where = f"{path}: arms.{name}"
        for amount, keys in arm.expanded():
            limited = checked(ArmConfig, keys, where)
            setting = Setting(name, amount, limited, arm.oracle, arm.filtered)
            _check(setting, reid, config, where)
            if setting.name in {other.name for other in settings}:
                raise UserError(f"{where}: two arms are called {setting.name}; rename one")
            settings.append(setting)
    return Study(file.seeds, reid, file.more_test_persons, tuple(settings))


def _check(setting: Setting, reid: ReidConfig, config: Config, where: str) -> None:
    """What the arm alone cannot know."""
    arm = setting.config
    if "none" in arm.images:
        raise UserError(f"{where}: images: [none] is the baseline, which is always measured")
    unknown = sorted({*arm.real} - {"own", *config.data.others})
    if unknown:
        hint = meant(unknown[0], ["own", *config.data.others])
        raise UserError(f"{where}: real: no data set {unknown[0]} in data.others; {hint}")
    if setting.oracle and config.data.source != "rendered":
        raise UserError(
            f"{where}: oracle images are rendered, as only rendered persons can be; data.source is "
            f"{config.data.source}"
        )
    try:
        arm.check(reid)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
