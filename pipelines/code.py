"""Stage code: which files of code each stage runs, with their digests.

A stage depends on its own list, so an edit runs the stages again that it can concern, and no other:
a new caption trains nothing. The lists follow the imports; nothing has to be declared. Of a package
whose modules are found by their names (`lookalike/parts.py`) they hold every module.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

from lookalike.artifacts import ARTIFACTS
from lookalike.files import write_text

# Not followed, nor what they alone import: an edit of these must not train anything again.
SHAPE_NO_OUTPUT = {
    "pipelines/stage.py": "opens the run and the folder, and finds resume state",
    "src/lookalike/addresses.py": "hides passwords in messages",
    "src/lookalike/arguments.py": "refuses what is not there, or something else",
    "src/lookalike/artifacts.py": "says where the stages write",
    "src/lookalike/config/": "checks the parameters, which DVC compares by itself",
    "src/lookalike/device.py": "says where to compute, which changes rounding only",
    "src/lookalike/errors.py": "holds the exception that stops a stage",
    "src/lookalike/failures.py": "says why a stage ends",
    "src/lookalike/files.py": "writes what it is given, whole, and takes digests",
    "src/lookalike/names.py": "names params.yaml and the champion's alias, and counts",
    "src/lookalike/processes.py": "says which process writes, and which has died",
    "src/lookalike/progress.py": "writes to the terminal",
    "src/lookalike/provenance.py": "names commits and digests; of `register` dvc.yaml says so",
    "src/lookalike/reachable.py": "says what is wrong with the database",
    "src/lookalike/relocation.py": "mends addresses in MLflow's database",
    "src/lookalike/store.py": "says where MLflow's database is",
    "src/lookalike/tracking.py": "writes to MLflow, and run.json",
    "src/lookalike/waiting.py": "keeps records that MLflow cannot take yet",
    "src/lookalike/workspace.py": "finds the repository of an experiment's copy",
    "src/lookalike/weights.py": "finds files, whose digests are dependencies",
    "src/lookalike/words.py": "says which word was meant",
}
PACKAGE = re.compile(r"lookalike(\.\w+)+")


def stages(root: Path) -> list[str]:
    """The stages: those files of `pipelines/` that run as one, without this one and `weights`."""
    return [
        file.stem
        for file in sorted((root / "pipelines").glob("*.py"))
        if any(
            isinstance(node, ast.ImportFrom)
            and node.module == "pipelines.stage"
            and "run" in {alias.name for alias in node.names}
            for node in ast.walk(ast.parse(file.read_bytes()))
        )
    ]


def files_by_stage(root: Path) -> dict[str, list[str]]:
    """The files that each stage is made of, from the root, sorted."""

    @cache
    def imports(file: Path) -> tuple[Path, ...]:
        return tuple(_imported(ast.parse(file.read_bytes()), file, root))

    def files_of(stage: str) -> list[str]:
        found, left = set[str](), [root / "pipelines" / f"{stage}.py"]
        while left:
            file = left.pop()
            name = file.relative_to(root).as_posix()
            if name not in found and not name.startswith(tuple(SHAPE_NO_OUTPUT)):
                found.add(name)
                left += imports(file)
        return sorted(found)

    return {stage: files_of(stage) for stage in stages(root)}


def _module(name: str, root: Path) -> Iterator[Path]:
    """The file of a module of this project; packages have none, __init__.py shapes nothing."""
    places = [folder / f"{name.replace('.', '/')}.py" for folder in (root / "src", root)]
    yield from (place for place in places if place.is_file())


def _imported(node: ast.AST, file: Path, root: Path) -> Iterator[Path]:
    """What is imported, wherever but for type checkers, or named as a text.

    Named are scripts beside `file`, and packages whose modules are found by their names.
    """
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _module(alias.name, root)
    elif isinstance(node, ast.ImportFrom):
        yield from _module(f"{node.module}", root)
        for alias in node.names:
            yield from _module(f"{node.module}.{alias.name}", root)
    elif isinstance(node, ast.Constant) and str(node.value).endswith(".py"):
        script = file.parent / str(node.value)
        if script.is_file():
            yield script
    elif isinstance(node, ast.Constant) and PACKAGE.fullmatch(str(node.value)):
        modules = (root / "src").joinpath(*str(node.value).split(".")).glob("*.py")
        yield from (module for module in sorted(modules) if module.name != "__init__.py")
    for child in ast.iter_child_nodes(node):
        yield from _imported(child, file, root)


def main(root: Path = Path()) -> None:
    """Write `artifacts/code/STAGE`: a digest and a name per line."""
    folder = root / ARTIFACTS.code
    for stage, files in files_by_stage(root).items():
        lines = (f"{sha256((root / file).read_bytes()).hexdigest()}  {file}\n" for file in files)
        write_text(folder / stage, "".join(lines))


if __name__ == "__main__":
    main()
