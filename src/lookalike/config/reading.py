"""Parameter files, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lookalike.config.base import Section
from lookalike.config.filtering import Threshold
from lookalike.config.whole import Config
from lookalike.errors import UserError
from lookalike.words import SHOWN, meant, nearest, not_among

S = TypeVar("S", bound=Section)
Place = tuple[int | str, ...]  # keys, and numbers of items, from the outside


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


def left_out(path: Path) -> str:
    """What a whole parameter file should hold and does not, and what to do, in a line; mostly "".

    Commands take defaults, which may be another profile's. DVC stops where a stage asks for one.

    Raises:
        UserError: the file is wrong.
    """
    config, absent = load_config(path), _absent(Config, read_yaml(path) or {})
    if not absent:
        return ""
    more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
    return (
        f"{path} has no {', '.join(absent[:SHOWN])}{more}: defaults are taken, and `dvc repro` may "
        f"stop; copy the lines from `lookalike profile show {config.profile}`"
    )


def _absent(kind: type[Section], values: Mapping[str, Any], before: str = "") -> list[str]:
    """Parameters and sections that are not there, of arms and thresholds none: they are choices."""
    names: list[str] = []
    for name, field in kind.model_fields.items():
        if name not in values:
            names.append(before + name)
            continue
        for section in _sections(field.annotation):
            if section is not Threshold and values[name] is not None:
                names += _absent(section, values[name], f"{before}{name}.")
    return names


def checked(kind: type[S], values: object, source: str) -> S:
    """Parameters of one kind, from a file or from options that `source` names.

    Raises:
        UserError: names every wrong key in one line.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found: dict[Place, list[ErrorDetails]] = {}
        for one in error.errors():
            found.setdefault(_place(kind, one["loc"])[0], []).append(one)
        # Of a list with a wrong item, that item is enough.
        inner = [p for p in found if not any(p == q[: len(p)] and p != q for q in found)]
        problems = "; ".join(_problem(kind, place, found[place]) for place in inner)
        raise UserError(f"{source}: {problems}") from error


def _problem(kind: type[Section], place: Place, found: Sequence[ErrorDetails]) -> str:
    """What is wrong where: of a key, or of a whole file or set of options without one.

    A value that may be of several types has an error for each.
    """
    key = ".".join(map(str, place))
    words = [word for one in found for word in _words(one)]
    reasons = list(dict.fromkeys(_reason(kind, one) for one in found if not _words(one)))
    if words and (not reasons or nearest(found[0]["input"], words)):
        reasons = [not_among(found[0]["input"], words)]
    elif words:
        reasons.append(f"or {', '.join(words)}")
    reason = ", ".join(reasons)
    return f"{key}: {reason}" if key else reason


def _words(found: ErrorDetails) -> list[str]:
    """Those of which the value must be one."""
    expected = found["ctx"]["expected"] if found["type"] == "literal_error" else ""
    return re.findall(r"'([^']+)'", expected)


def _reason(kind: type[Section], found: ErrorDetails) -> str:
    name = found["loc"][-1] if found["loc"] else ""
    if found["type"] in ("model_type", "model_attributes_type"):
        return "must be keys with their values"
    if found["type"] in ("tuple_type", "list_type"):
        return "must be a list"
    if found["type"] not in ("extra_forbidden", "missing"):
        return found["msg"].removeprefix("Value error, ")
    section = _place(kind, found["loc"])[1]
    code = f"src/{section.__module__.replace('.', '/')}.py"
    if found["type"] == "extra_forbidden":
        new = "" if nearest(name, section.model_fields) else f" (a new one needs a field in {code})"
        return f"no such parameter; {meant(name, section.model_fields)}{new}"
    if isinstance(name, int):
        return "a value is missing here"
    return f"is missing, and has no default; add a line `{name}: ...` ({code} says what it may be)"


def _place(kind: type[Section], found: Place) -> tuple[Place, type[Section]]:
    """Where a value stands, without pydantic's names of types, and the section that it is in."""
    place: list[int | str] = []
    section, here = kind, cast("Any", kind)
    for part in found:
        if sections := _sections(here):
            section = sections[0]
            field = section.model_fields.get(str(part))
            here = field.annotation if field else None
        elif get_origin(here) is dict:
            here = get_args(here)[-1]
        elif isinstance(part, str):
            continue  # the name of a type
        place.append(part)
    return tuple(place), section


def _sections(kind: Any) -> list[type[Section]]:
    """A section, or one that may be left out; of a dictionary of sections none."""
    kinds = [] if get_origin(kind) is dict else [kind, *get_args(kind)]
    return [k for k in kinds if isinstance(k, type) and issubclass(k, Section)]
