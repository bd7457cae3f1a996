"""DVC's cache on a file system that may only be read: one line, and the next call goes on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from small_pipeline import Repository

pytestmark = pytest.mark.pipeline
STAGE = "stages: {write: {cmd: echo hello > out, outs: [out]}}\n"


def test_dvc_says_so_and_goes_on_afterwards(tmp_path: Path) -> None:
    repo, cache = Repository(tmp_path), tmp_path / ".dvc" / "cache"
    repo.run("git", "init", "--quiet")
    repo.run("dvc", "init", "--quiet")
    (tmp_path / "dvc.yaml").write_text(STAGE)
    cache.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(cache)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system here")
    try:
        said = repo.run("dvc", "repro", status=255)
    finally:
        subprocess.run(["umount", str(cache)], check=True)
    (line,) = [line for line in said.splitlines() if line.startswith("ERROR")]
    assert "failed to reproduce 'write'" in line and "Read-only file system" in line
    assert "Traceback" not in said and not (tmp_path / "dvc.lock").exists()
    assert "Running stage 'write'" in repo.run("dvc", "repro")
    assert "Running stage" not in repo.run("dvc", "repro")
