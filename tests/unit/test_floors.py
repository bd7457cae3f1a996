"""Imports run downwards through the floors of docs/architecture.md, and there are no circles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
DOORS = {
    "mlflow": {"tracking", "store", "reachable", "registry"},
    "great_expectations": {"data.expectations"},
    "dvc": set[str](),
}


def floors() -> list[list[str]]:
    """The rooms of each floor, the top one first."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = re.search(r"### Floors\n.*?```\n(.*?)```", text, re.DOTALL)
    assert table is not None
    return [line.split(", ") for line in table[1].splitlines()]


def imported(node: ast.AST) -> Iterator[str]:
    """Names of what is imported, wherever but for type checkers."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield f"{node.module}"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imported(child)


@cache
def imports() -> dict[str, set[str]]:
    """From each module, without `lookalike.`, to what it imports, ours and others'."""
    files = {
        ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): file
        for file in sorted(SOURCE.rglob("*.py"))
        if file.parent.name != "lookalike" or file.name != "__init__.py"
    }
    found = {}
    for name, file in files.items():
        names = set(imported(ast.parse(file.read_text(encoding="utf-8"))))
        found[name] = {n for n in names if n in files or not n.startswith("lookalike")}
    return found


def room(module: str) -> str:
    """`reid` for `lookalike.reid.model`."""
    return module.split(".")[1]


def test_every_room_has_its_floor() -> None:
    rooms = sorted({room(module) for module in imports()})
    assert sorted(name for floor in floors() for name in floor) == rooms


def test_imports_run_downwards() -> None:
    level = {name: number for number, floor in enumerate(floors()) for name in floor}
    upwards = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in sorted(names)
        if name.startswith("lookalike.") and level[room(name)] < level[room(module)]
    ]
    assert upwards == []


def test_there_are_no_circles() -> None:
    circle: list[str] = []
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == []


def test_some_libraries_are_kept_behind_a_door() -> None:
    for library, doors in DOORS.items():
        users = {
            module.removeprefix("lookalike.")
            for module, names in imports().items()
            if library in {name.partition(".")[0] for name in names}
        }
        strangers = {user for user in users if not {user, user.partition(".")[0]} & doors}
        assert strangers == set(), library
