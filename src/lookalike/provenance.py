"""Where results come from: the commit, what was not committed, and the digests DVC locked."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lookalike.config import read_yaml
from lookalike.files import md5_file
from lookalike.workspace import experiment

# What determines a result. dvc.lock is not among them: it changes while the pipeline runs.
CODE_AND_CONFIGURATION = (
    "src",
    "pipelines",
    "dvc.yaml",
    "params.yaml",
    "pyproject.toml",
    "requirements.lock",
    "data.dvc",
)
UNKNOWN = "unknown"


def _git(root: Path, *arguments: str) -> str | None:
    """Git's answer, or None where there is no git, no repository or no commit."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # a file's name may be any bytes
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def git_sha(root: Path) -> str:
    """The commit that is checked out; `unknown` outside a repository."""
    return (_git(root, "rev-parse", "HEAD") or UNKNOWN).strip()


def uncommitted(root: Path) -> list[str]:
    """Files of code and configuration that differ from the commit, sorted.

    Outside a repository nothing is committed, so everything that exists is named.
    """
    if git_sha(root) == UNKNOWN:
        return [name for name in CODE_AND_CONFIGURATION if (root / name).exists()]
    # -z: names as they are. Without it git quotes those with a blank or an umlaut.
    how = ("--porcelain", "-z", "--no-renames", "--untracked-files=all")
    changes = _git(root, "status", *how, "--", *CODE_AND_CONFIGURATION) or ""
    return sorted(change[3:] for change in changes.split("\0") if change)


def pipeline_digest(root: Path) -> str:
    """Twelve hexadecimal digits for one pipeline: commit, params.yaml, experiment."""
    parameters = root / "params.yaml"
    digest = hashlib.sha256(git_sha(root).encode())
    digest.update(parameters.read_bytes() if parameters.is_file() else b"")
    digest.update(experiment().encode())
    return digest.hexdigest()[:12]


def locked_digests(root: Path) -> dict[str, str]:
    """The MD5 that DVC recorded for every output: path from the root -> digest.

    Read from `dvc.lock` (written after each stage) and the `.dvc` files beside it. A folder's
    digest ends in `.dir`.
    """
    outs: list[dict[str, Any]] = []
    lock = root / "dvc.lock"
    if lock.is_file():
        stages = (read_yaml(lock) or {}).get("stages", {})
        outs += [out for stage in stages.values() for out in stage.get("outs", [])]
    for file in sorted(root.glob("*.dvc")):
        if file.is_file():  # `.dvc` itself is DVC's folder
            outs += (read_yaml(file) or {}).get("outs", [])
    return {out["path"]: out["md5"] for out in outs if "md5" in out}


def dvc_digests(paths: Sequence[Path], root: Path) -> dict[str, str]:
    """DVC's digest of each input: as locked, else the file's own MD5, else `untracked`."""
    locked = locked_digests(root)
    digests = {}
    for path in paths:
        name = relative_name(path, root)
        place = root / path
        fallback = md5_file(place) if place.is_file() and name not in locked else "untracked"
        digests[name] = locked.get(name, fallback)
    return digests


def relative_name(path: Path, root: Path) -> str:
    """A path as seen from the root, with forward slashes."""
    place = root / path
    return (place.relative_to(root) if place.is_relative_to(root) else place).as_posix()
