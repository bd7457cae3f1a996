"""dvc.yaml declares all code that shapes a stage's outputs, and no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# Not declared, nor what they alone import: an edit of these must not train anything again.
SHAPE_NO_OUTPUT = {
    "pipelines/arms.py": "finds the images of an arm, and refuses others than dvc.yaml names",
    "pipelines/stage.py": "opens the run and the folder; its digests only find resume state",
    "src/lookalike/config.py": "checks the parameters, which DVC compares by itself",
    "src/lookalike/device.py": "says where to compute, which changes rounding only",
    "src/lookalike/errors.py": "holds the exception that stops a stage",
    "src/lookalike/names.py": "says what params.yaml and the champion's alias are called",
    "src/lookalike/processes.py": "says which process writes, and which has died",
    "src/lookalike/progress.py": "writes to the terminal",
    "src/lookalike/provenance.py": "names commits and digests, which `register` judges; it says so",
    "src/lookalike/addresses.py": "hides passwords in messages",
    "src/lookalike/reachable.py": "says what is wrong with the database",
    "src/lookalike/store.py": "finds the database that `tracking.py` writes to",
    "src/lookalike/tracking.py": "writes to MLflow, and run.json",
    "src/lookalike/weights.py": "finds files, and refuses those without the published digest",
}


def module(name: str) -> Path | None:
    """The file of a module of this project; packages have none, their __init__.py has no code."""
    places = [folder / f"{name.replace('.', '/')}.py" for folder in (ROOT / "src", ROOT)]
    return next((place for place in places if place.is_file()), None)


def imported(node: ast.AST, file: Path) -> Iterator[Path | None]:
    """What is imported, wherever but for type checkers, and scripts beside `file` that it names."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (module(alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield module(f"{node.module}")
        yield from (module(f"{node.module}.{alias.name}") for alias in node.names)
    elif isinstance(node, ast.Constant) and str(node.value).endswith(".py"):
        script = file.parent / str(node.value)
        yield script if script.is_file() else None
    for child in ast.iter_child_nodes(node):
        yield from imported(child, file)


def closure(start: Path) -> set[str]:
    """Files from the root that `start` is made of, itself among them."""
    found, left = set[str](), [start]
    while left:
        file = left.pop()
        name = file.relative_to(ROOT).as_posix()
        if name not in found and name not in SHAPE_NO_OUTPUT:
            found.add(name)
            left += filter(None, imported(ast.parse(file.read_text()), file))
    return found


def declared(stage: str) -> set[str]:
    """The files of code among a stage's dependencies; a folder stands for all in it."""
    deps = STAGES[stage].get("do", STAGES[stage])["deps"]
    code = [ROOT / dep for dep in deps if dep.startswith(("pipelines/", "src/"))]
    files = [file for path in code for file in (path.rglob("*.py") if path.is_dir() else [path])]
    names = {file.relative_to(ROOT).as_posix() for file in files if file.name != "__init__.py"}
    return {name for name in names if name.endswith(".py") and name not in SHAPE_NO_OUTPUT}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs_and_on_no_other(stage: str) -> None:
    needed, named = closure(ROOT / "pipelines" / f"{stage}.py"), declared(stage)
    assert (sorted(needed - named), sorted(named - needed)) == ([], []), "missing, superfluous"
