"""The project's own files: versions agree, and CI runs what a developer runs."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import lookalike
from lookalike.cli import app

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_all_say_the_same_version() -> None:
    """What is installed, the command, and the newest release of the changelog."""
    released = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    said = CliRunner().invoke(app, ["--version"]).stdout.strip()
    assert DECLARED == lookalike.__version__ == said == released[0]


def test_a_tag_says_the_version_of_its_commit() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("a source archive has no tags")
    found = subprocess.run(
        ["git", "tag", "--points-at", "HEAD", "v[0-9]*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(found.stdout.split()) <= {f"v{DECLARED}"}


def test_the_hosted_runner_and_the_hook_run_our_own_commands() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert [step.get("run") for step in workflow["jobs"]["ci"]["steps"]][-1] == ".ci/run"
    assert os.access(ROOT / ".ci/run", os.X_OK)
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == ["make lint"]


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*pages, *sorted((ROOT / "docs").rglob("*.md"))]
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []
