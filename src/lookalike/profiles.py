"""Profiles: what differs from the defaults of `config/`, under a name.

`params.yaml` is the whole of one profile, because DVC compares and rewrites single parameters
there. It is written by `use` and may be edited by hand.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from lookalike.config import ArmConfig, Config, Section, load_config, parse_config, read_yaml
from lookalike.errors import UserError
from lookalike.files import write_text
from lookalike.names import PARAMS
from lookalike.words import meant

FOLDER = Path("profiles")
HEADER = """\
The parameters in use, all of them, as `lookalike profile use {name}` wrote them. Edit them as you
like, and commit. src/lookalike/config/ says what each means, `lookalike profile list` what other
profiles there are.
"""


def names(folder: Path = FOLDER) -> list[str]:
    """The profiles in a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def compose(name: str, folder: Path = FOLDER) -> Config:
    """The defaults with what a profile changes.

    A profile's `base` is another profile that it starts from.

    Raises:
        UserError: there is no such profile, or it is wrong.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"no profile {name} in {folder}/; {meant(name, names(folder))}")
    return parse_config({**_overlay(path), "profile": path.resolve().stem}, path)


def read(path: Path) -> Config:
    """A parameter file: `params.yaml`, or one of a profile."""
    return load_config(path) if path.name == PARAMS.name else compose(path.stem, path.parent)


def sound(folder: Path = FOLDER) -> dict[str, Config]:
    """The profiles that are right, by name; a wrong one is no reason to do without the others."""
    found = {}
    for name in names(folder):
        with contextlib.suppress(UserError):
            found[name] = compose(name, folder)
    return found


def summary(name: str, folder: Path = FOLDER) -> str:
    """What a profile says of itself in its first sentence, or what is wrong with it."""
    try:
        compose(name, folder)
    except UserError as error:
        return f"broken: {error}"
    path = folder / f"{name}.yaml"
    if path.is_symlink():
        return f"another name for {path.resolve().stem}"
    lines = path.read_text(encoding="utf-8").splitlines()
    said = itertools.takewhile(lambda line: line.startswith("# "), lines)
    first, end, _ = " ".join(line[2:] for line in said).partition(". ")
    return f"{first}." if end else first


def _overlay(path: Path) -> dict[str, Any]:
    values = _mapping(path)
    base = values.pop("base", None)
    if base is None:
        return values
    below = path.with_name(f"{base}.yaml")
    if not below.is_file() or "base" in _mapping(below):
        folder = path.parent
        bases = [n for n in names(folder) if "base" not in _mapping(folder / f"{n}.yaml")]
        hint = meant(base, bases)
        raise UserError(f"{path}: base must be a profile without a base, not {base}; {hint}")
    return merged(_mapping(below), values)


def _mapping(path: Path) -> dict[str, Any]:
    values = read_yaml(path) or {}
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no parameters by name, like `seed: 1`")
    return values


def merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` on `below`, section by section; lists are replaced."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            value = merged(old, value)
        result[key] = value
    return result


def render(config: Config) -> str:
    """`params.yaml` for a configuration, whole, with a line on each section."""
    tree = _tree(config.model_dump(mode="json"))
    tree.yaml_set_start_comment(HEADER.format(name=config.profile))
    for key in tree:
        section = ArmConfig if key == "arms" else type(getattr(config, key))
        if issubclass(section, Section):
            meaning = (section.__doc__ or "").splitlines()[0]
            tree.yaml_set_comment_before_after_key(key, before=f"\n{meaning}")
    yaml, stream = YAML(), io.StringIO()
    yaml.width, yaml.Representer = 100, _Representer
    yaml.dump(tree, stream)
    return stream.getvalue().replace("\n#\n", "\n\n")


class _Representer(RoundTripRepresenter):
    """Writes null where ruamel.yaml writes nothing."""

    def represent_none(self, data: None) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _Representer.represent_none)


def _tree(value: Any) -> Any:
    """Blocks for sections, one line for lists."""
    if isinstance(value, dict):
        return CommentedMap((key, _tree(entry)) for key, entry in value.items())
    if isinstance(value, list):
        sequence = CommentedSeq(value)
        sequence.fa.set_flow_style()
        return sequence
    return value


def difference(before: Mapping[str, Any], after: Config) -> list[str]:
    """What changes from parameters, as a file holds them, to a configuration: a line for each.

    What the file leaves out is `absent`: that it would have its default is no reason not to say
    that it will be written.
    """
    old, new = dict(_flat(before)), dict(_flat(after.model_dump(mode="json")))
    return [
        f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}"
        for key in [*old, *(key for key in new if key not in old)]
        if old.get(key, "absent") != new.get(key, "absent")
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        nested = isinstance(value, dict) and value
        pairs += _flat(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return pairs


def use(config: Config, path: Path = PARAMS, folder: Path = FOLDER, *, force: bool = False) -> None:
    """Write a configuration to `params.yaml`, whole or not at all.

    Raises:
        UserError: the file holds edits that are in no commit, and `force` is not given.
    """
    if not force and path.is_file() and not (_is_profile(path, folder) or _is_committed(path)):
        raise UserError(
            f"{path} has changes that are in no commit: `git commit {path}` keeps them, "
            "--force drops them"
        )
    write_text(path, render(config))


def current(folder: Path = FOLDER) -> dict[str, bool]:
    """Whether each profile is what `params.yaml` holds, by its parameters."""
    try:
        held = load_config(PARAMS)
    except UserError:
        return dict.fromkeys(names(folder), False)
    right = sound(folder)
    return {name: right.get(name) == held for name in names(folder)}


def edits(folder: Path = FOLDER) -> tuple[str, list[str]] | None:
    """The profile that `params.yaml` was made from, and what differs in it; None where nothing."""
    try:
        held = load_config(PARAMS)
        changes = difference(compose(held.profile, folder).model_dump(mode="json"), held)
    except UserError:
        return None
    return (held.profile, changes) if changes else None


def _is_profile(path: Path, folder: Path) -> bool:
    """Whether the file is, byte for byte, what `use` writes of one of the profiles."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return any(text == render(config) for config in sound(folder).values())


def _is_committed(path: Path) -> bool:
    """Whether these bytes are in any commit."""

    def git(*arguments: str) -> str:
        where = path.resolve().parent
        done = subprocess.run(["git", *arguments], cwd=where, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    blob = git("hash-object", path.name)
    return bool(blob and git("log", "--all", "-1", "--format=%H", f"--find-object={blob}"))
