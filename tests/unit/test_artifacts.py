"""Every path below artifacts/ stands in one module, and dvc.yaml declares the same files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from lookalike.artifacts import ARTIFACTS, Artifacts, File, Made
from lookalike.config import KINDS, read_yaml

ROOT = Path(__file__).parents[2]
ARM = "baseline"


def expanded() -> Iterator[tuple[str, str]]:
    """Each stage of dvc.yaml, and an output; of one arm where there is a stage for each."""
    parsed = read_yaml(ROOT / "dvc.yaml")
    kinds = list(parsed["vars"][0]["kinds"])
    assert kinds == list(KINDS)
    items_of = {"${arms}": [ARM], "${kinds}": kinds, "": [""]}
    for name, spec in parsed["stages"].items():
        for item in items_of[spec.get("foreach", "")]:
            made = spec.get("do", spec)
            for out in [o for key in ("outs", "metrics", "plots") for o in made.get(key, [])]:
                path = out if isinstance(out, str) else next(iter(out))
                yield f"{name}@{item}" if item else name, path.replace("${key}", item)


def files(made: Made) -> Iterator[Path]:
    for of in type(made).__mro__:
        yield from (getattr(made, name) for name, x in vars(of).items() if isinstance(x, File))


def test_dvc_declares_what_the_stages_write_and_nothing_else() -> None:
    declared = {Path(path) for _, path in expanded()}
    a = ARTIFACTS
    made = [a.prepare, a.validate, a.train_reid(ARM), a.train_gan, a.train_encoder]
    made += [a.evaluate(ARM), a.register]
    made += [of(kind) for kind in KINDS for of in (a.generate, a.filter)]
    nothing = a.filter("none")
    known = {file for one in made for file in files(one)} | {nothing.manifest, nothing.baseline}
    assert declared == known | {a.code, a.weights}


def test_folders_are_called_after_the_stages() -> None:
    for stage, path in expanded():
        if "filter/none" not in path:  # of `validate`, which runs before any filter
            assert Path(path).is_relative_to(ARTIFACTS.of(stage)), stage
    assert ARTIFACTS.stage_of(ARTIFACTS.train_reid(ARM).model) == f"train_reid@{ARM}"
    elsewhere = Artifacts(Path("/elsewhere"))
    assert elsewhere.baseline.run == Path("/elsewhere/train_reid/baseline/run.json")


def test_no_other_module_writes_such_a_path_out() -> None:
    written = []
    for file in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "pipelines").glob("*.py")]):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        written += [
            f"{file.name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and id(node) not in said
            and str(node.value).startswith("artifacts/")
        ]
    assert written == []
