"""What sections of parameters are made of: types with bounds, and a strict, frozen block."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lookalike.words import not_among

# Bounds are those of what works, not of what makes sense.
Positive = Annotated[int, Field(gt=0, lt=2**31)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
SideLength = Annotated[int, Field(ge=8, le=4096)]  # a side of an image
Channels = Annotated[int, Field(gt=0, le=2**17)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Rate = Annotated[float, Field(gt=0, le=1e9)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]*$", max_length=100)]


def _watched(start: str) -> str:
    """A name or a path that `dvc.yaml` can see the change of."""
    path = PurePosixPath(start)
    if not start or path.is_absolute() or ".." in path.parts:
        raise ValueError("start must be a name, or a file in weights/, which DVC watches")
    return start


# What a network starts from: a name of `lookalike weights`, a .safetensors file in its home, or
# "none".
Start = Annotated[str, AfterValidator(_watched)]
# Of what autocast reduces. fp16 is for GPUs without bf16: reid and encoder scale their loss, gan
# clamps its activations instead. fp32 was once called "no", which many readers of YAML take for
# false.
Precision = Annotated[
    Literal["fp32", "bf16", "fp16"],
    BeforeValidator(lambda value: "fp32" if value is False or value == "no" else value),
]


def one_of(names: Sequence[str]) -> AfterValidator:
    """A text that must be one of these, where they are known when this is imported."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(not_among(name, names))
        return name

    return AfterValidator(check)


class Section(BaseModel):
    """A strict, frozen block of parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, values: Any) -> Any:
        """Refuse `epochs: true` and `ranks: [true]`, which would otherwise be 1."""
        for name, value in values.items() if isinstance(values, dict) else ():
            items = value if isinstance(value, list | tuple) else [value]
            truths = [item for item in items if isinstance(item, bool)]
            field = cls.model_fields.get(name)
            kind = field.annotation if field else None
            if truths and _takes(kind, (int, float)) and not _takes(kind, (bool,)):
                raise ValueError(f"{name} is a number, not {str(truths[0]).lower()}")
        return values


def _takes(annotation: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a type is, or has among its alternatives, items or literals, one of these."""
    return (
        annotation in kinds
        or type(annotation) in kinds  # of a literal
        or any(_takes(part, kinds) for part in get_args(annotation))
    )
