"""Files that others read are written whole or not at all, by way of `lookalike.files`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALWAYS = {"write_bytes", "savefig", "savez", "savez_compressed", "save_file", "imwrite", "tofile"}
WITH_A_PLACE = {"to_csv", "to_parquet", "to_json", "to_html"}  # without, they return what they make
# What may be half there, and why that harms nobody.
ANEW = "to change it would train anew; DVC runs a stage that was cut short again"
SCRATCH = "into a folder of scratch, which is moved or deleted as a whole"
IN_PLACE = {
    "pipelines/train_gan.py": ANEW,
    "pipelines/train_reid.py": ANEW,
    "report/figures.py": ANEW,
    "report/headline.py": ANEW,
    "stylegan3/transfer.py": ANEW,
    "data/archives.py": SCRATCH,
    "filtering/untrained_yolo.py": SCRATCH,
    "registry/drift.py": SCRATCH,
    "registry/evidence.py": SCRATCH,
    "registry/promotion.py": SCRATCH,
    "rehearsal/stages.py": "a log, line by line",
    "registry/shadow.py": "a line is added",
    "reid/embedding_parts.py": "a part of the resume state, made anew from the others",
    "reid/measurement.py": SCRATCH,
    "data/population.py": "a picture that is cut short is drawn again, and compared with data.dvc",
    "data/loading.py": "a lock, which holds nothing",
    "processes.py": "a lock, which holds nothing",
    "study/run.py": "a lock, which holds nothing",
}


def writes(call: ast.Call) -> bool:
    """Whether it writes a file of its own; as far as names tell."""
    if not isinstance(call.func, ast.Attribute):
        return False
    name = call.func.attr
    mode = next((str(a.value) for a in call.args[:1] if isinstance(a, ast.Constant)), "r")
    return (
        name in ALWAYS
        or (name == "write_text" and len(call.args) == 1)  # a path's; ours takes two
        or (name in WITH_A_PLACE and bool(call.args))
        or (name == "open" and mode[0] in "wxa" and len(mode) < 4)
    )


def in_place(node: ast.AST) -> Iterator[int]:
    """The lines that write outside a `with replacing(...)`."""
    if isinstance(node, ast.With) and any("replacing(" in ast.unparse(i) for i in node.items):
        return
    if isinstance(node, ast.Call) and writes(node):
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from in_place(child)


def test_files_are_written_whole() -> None:
    source = ROOT / "src/lookalike"
    names = {
        file.relative_to(base).as_posix(): file
        for base, folder in ((ROOT, ROOT / "pipelines"), (source, source))
        for file in sorted(folder.rglob("*.py"))
    }
    found = {
        name: lines
        for name, file in names.items()
        if name != "files.py" and (lines := list(in_place(ast.parse(file.read_bytes()))))
    }
    more = {name: lines for name, lines in found.items() if name not in IN_PLACE}
    assert not more, f"{more}: write by `replacing` or `write_text` of lookalike.files"
    assert sorted(set(IN_PLACE) - set(found)) == [], "these write whole files now"
