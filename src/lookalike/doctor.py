"""`lookalike doctor`: what this machine offers, what each profile finds and what it lacks."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import torch

from lookalike.config import Config, Source, left_out
from lookalike.data.layouts.layout import OTHERS, check_counts, count
from lookalike.data.layouts.sources import SOURCES
from lookalike.errors import UserError
from lookalike.names import PARAMS
from lookalike.profiles import read
from lookalike.programs import braces
from lookalike.report.checks import Check
from lookalike.weights import required_for, status

# Worth knowing, but it stops nothing: note. What stops that profile: missing.
State = Literal["ok", "note", "missing"]
FREE_GB = 10  # the embedded profile's data, artifacts and DVC cache, with room to spare


def examine(root: Path, files: Sequence[Path]) -> list[Check]:
    """Findings about the machine and about each profile.

    Args:
        root: the repository root.
        files: parameter files; of several with one profile's name (params.yaml and the profile that
            it is a copy of) the first counts.
    """
    rows = _machine(root)
    for path in files:
        section = section_of(path)
        if any(row.section == section for row in rows):
            continue
        try:
            config = read(path)
        except UserError as error:
            rows.append(Check(section, "parameters", "missing", str(error)))
            continue
        lacks = left_out(path) if path.name == PARAMS.name else ""
        state: State = "note" if lacks else "ok"
        rows.append(Check(config.profile, "parameters", state, lacks or str(path)))
        rows += _data(config, root) + _weights(config, root)
    return rows


def section_of(path: Path) -> str:
    """The profile that a parameter file names, or the file's own name if it cannot be read."""
    try:
        return read(path).profile
    except UserError:
        return path.stem


def _machine(root: Path) -> list[Check]:
    def row(subject: str, good: bool, detail: str, otherwise: State = "missing") -> Check:
        return Check("machine", subject, "ok" if good else otherwise, detail)

    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    listed = ", ".join(f"{d.name} ({d.total_memory / 2**30:.0f} GiB)" for d in devices)
    has_hog = hasattr(cv2, "HOGDescriptor")
    free = shutil.disk_usage(root).free / 1e9
    return [
        row("python", sys.version_info >= (3, 11), platform.python_version()),
        row("torch", True, torch.__version__),
        row("cuda", bool(devices), listed or "none: everything runs on the CPU", "note"),
        *([_compiler()] if devices else []),
        row("opencv", has_hog, cv2.__version__ + ("" if has_hog else ": no HOG people detector")),
        row("disk", free > FREE_GB, f"{free:.0f} GB free, {FREE_GB} advised", "note"),
        _git(root),
        _dvc(root),
    ]


def _compiler() -> Check:
    """Triton compiles the launcher of its kernels on the machine that runs them."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    found = next(filter(None, (shutil.which(name) for name in names if name)), None)
    lacking = "none on the PATH: StyleGAN3's fused kernels cannot run; install gcc"
    return Check("machine", "C compiler", "ok" if found else "note", found or lacking)


def _git(root: Path) -> Check:
    if not shutil.which("git"):
        return Check("machine", "git", "missing", "not on the PATH; DVC and provenance need it")
    answer = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True
    )
    if answer.returncode:
        return Check("machine", "git", "missing", f"{root} has no commit; clone the repository")
    return Check("machine", "git", "ok", f"at {answer.stdout.strip()}")


def _dvc(root: Path) -> Check:
    try:
        version = importlib.metadata.version("dvc")
    except importlib.metadata.PackageNotFoundError:
        return Check("machine", "dvc", "missing", "not installed; run `make install`")
    if not (root / ".dvc").is_dir():
        return Check(
            "machine", "dvc", "missing", f"{version}, but {root} has no .dvc; run `dvc init`"
        )
    if advice := braces(root):
        return Check("machine", "dvc", "note", f"{version}; {advice}")
    return Check("machine", "dvc", "ok", version)


def _data(config: Config, root: Path) -> list[Check]:
    rows, folder = [], root / "data"
    for subject, place, layout in [
        ("data", folder, config.data.source),
        *((f"data: {n}", folder / OTHERS / n, s) for n, s in config.data.others.items()),
    ]:
        absent = [mark for mark in SOURCES[layout].marks if not (place / mark).exists()]
        lacks = f"{place} lacks {', '.join(absent)}"
        if not absent:
            other = _not_as_published(place, layout) if config.data.as_published else ""
            rows.append(
                Check(config.profile, subject, "missing" if other else "ok", other or str(place))
            )
        elif layout == "rendered" and place == folder:
            rows.append(
                Check(config.profile, subject, "note", f"{lacks}; `make repro` renders them")
            )
        else:
            named = "" if place == folder else f" --name {place.name}"
            advice = f"run `lookalike data import PATH --as {layout}{named}`"
            rows.append(Check(config.profile, subject, "missing", f"{lacks}; {advice}"))
    return rows


def _not_as_published(place: Path, source: Source) -> str:
    """What is wrong if a folder holds another data set of the same layout, say the rendered one."""
    layout = SOURCES[source]
    if layout.counts is None:
        return ""
    try:
        check_counts(layout, count((image.split, image.person) for image in layout.scan(place)[0]))
    except UserError as error:
        return f"{place} holds other data, {error}; run `lookalike data import PATH --as {source}`"
    return ""


def _weights(config: Config, root: Path) -> list[Check]:
    try:
        found = status(required_for(config), root)
    except UserError as error:
        return [Check(config.profile, "weights", "missing", str(error))]
    states: dict[str, State] = {"verified": "ok", "unverified": "note"}
    return [
        Check(config.profile, entry.file.name, states.get(entry.state, "missing"), entry.advice)
        for entry in found
    ]
