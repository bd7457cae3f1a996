"""Parameter files, read and checked."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lookalike.config.base import Section
from lookalike.config.whole import Config
from lookalike.errors import UserError

S = TypeVar("S", bound=Section)


def read_yaml(path: Path) -> Any:
    """What is in a YAML file, as DVC reads it: YAML 1.2, where `no` and `off` are words.

    DVC writes parameters anew without the quotes that YAML 1.1 needs.

    Raises:
        UserError: the file is not YAML.
    """
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def load_config(path: Path) -> Config:
    """Read and check a parameter file; what it leaves out has its default.

    Raises:
        UserError: the file is missing or wrong; names every wrong key in one line.
    """
    if not path.is_file():
        raise UserError(f"no parameter file at {path}")
    values = read_yaml(path)
    return parse_config({} if values is None else values, path)  # an empty file is None


def parse_config(values: object, path: Path) -> Config:
    """Check parameters that were read from `path`.

    Raises:
        UserError: names every wrong key in one line.
    """
    return checked(Config, values, str(path))


def checked(kind: type[S], values: object, source: str) -> S:
    """Parameters of one kind, from a file or from options that `source` names.

    Raises:
        UserError: names every wrong key in one line.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(kind, found) for found in error.errors())
        raise UserError(f"{source}: {problems}") from error


def _problem(kind: type[Section], found: ErrorDetails) -> str:
    """What is wrong where: of a key, or of a whole file or set of options without one."""
    place = ".".join(str(part) for part in found["loc"])
    if found["type"] in ("model_type", "model_attributes_type"):
        reason = "must be keys with their values"
    elif found["type"] == "extra_forbidden":
        names = _beside(kind, found["loc"])
        near = get_close_matches(str(found["loc"][-1]), names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(names)}"
        reason = f"no such parameter; {hint}"
    else:
        reason = found["msg"].removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason


def _beside(kind: Any, place: tuple[int | str, ...]) -> list[str]:
    """Names of the parameters of the section that a place is in."""
    *sections, _ = place
    for name in sections:
        fields = _fields(kind)
        kind = fields[str(name)].annotation if fields else get_args(kind)[-1]
    return list(_fields(kind))


def _fields(kind: Any) -> dict[str, FieldInfo]:
    """Those of a section, or of one that may be left out; of a dictionary of sections none."""
    kinds = [] if get_origin(kind) is dict else [kind, *get_args(kind)]
    section = next((k for k in kinds if isinstance(k, type) and issubclass(k, Section)), None)
    return section.model_fields if section else {}
