"""`lookalike data`: imports in a repository of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lookalike.cli import main
from lookalike.config import Config
from lookalike.data.population import render_population

SIZES = {"train_persons": 2, "test_persons": 2, "images_per_person": 4}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh repository with DVC, and data to import at `../laid`."""
    render_population(
        tmp_path / "laid", seed=5, distractors=1, junk=1, workers=1, progress=False, **SIZES
    )
    folder = tmp_path / "a clone"
    folder.mkdir()
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        program = shutil.which(command[0], path=str(Path(sys.executable).parent))
        subprocess.run([program or command[0], *command[1:]], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lookalike", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_data_sets_are_imported_side_by_side_and_versioned(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = sorted(path.name for path in repository.iterdir())
    assert run(monkeypatch, "data", "import", "../laid") == 2
    assert "train: expected 12,936 images of 751 persons" in capsys.readouterr().err
    lenient = ["data", "import", "../laid", "--as", "market1501", "--any-counts"]
    assert run(monkeypatch, *lenient, "--dry-run") == 0
    assert "dry run: nothing was written" in capsys.readouterr().err
    assert sorted(path.name for path in repository.iterdir()) == started

    assert run(monkeypatch, *lenient) == 0
    said = capsys.readouterr().err
    assert "query: " in said and "data.source: market1501, data.as_published: false" in said
    assert "DVC reads every file of data/" in said, "what may take a while is announced"
    first = yaml.safe_load((repository / "data.dvc").read_text())["outs"][0]
    assert first["nfiles"] == len(list((repository / "data").rglob("*.jpg")))

    assert run(monkeypatch, *lenient, "--name", "street") == 0
    assert "data.others: {street: market1501}" in capsys.readouterr().err
    both = yaml.safe_load((repository / "data.dvc").read_text())["outs"][0]
    assert both["nfiles"] == 2 * first["nfiles"]
    assert len(list((repository / "data/others/street").rglob("*.jpg"))) == first["nfiles"]
    assert run(monkeypatch, "data", "import", "../laid", "--as", "duke") == 2
    assert "no layout 'duke'; did you mean dukemtmc?" in capsys.readouterr().err


def test_behind_a_link_nothing_is_versioned_and_it_is_said(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository.parent / "disk").mkdir()
    Path("data").symlink_to(repository.parent / "disk")
    assert run(monkeypatch, "data", "import", "../laid", "--any-counts") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "data/ is a link, behind which DVC keeps no versions" in said
    assert "set data.source: market1501, data.as_published: false" in said
    assert not Path("data.dvc").exists()
    assert list((repository.parent / "disk").rglob("*.jpg"))


def test_rendered_data_is_checked_against_its_digest(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a fresh clone: rendered, compared, put into DVC's cache; each wait is announced."""
    params = Config().model_dump(mode="json")
    params["data"]["rendered"] |= SIZES | {"distractors": 1, "junk": 1}
    params["data"]["validation_persons"] = 1
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert run(monkeypatch, "data", "render") == 0
    assert "run `dvc add data`" in capsys.readouterr().err
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "add", "--quiet", "data"], check=True)
    shutil.rmtree("data")
    shutil.rmtree(".dvc/cache")

    assert run(monkeypatch, "data", "render") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "DVC compares data/ with data.dvc ..."
    assert said[-3:] == [
        "DVC compares data/ with data.dvc ...",
        "DVC reads every file of data/ into its cache ...",
        "data is what data.dvc describes",
    ]
    assert run(monkeypatch, "data", "render") == 0
    assert capsys.readouterr().err.splitlines()[-1].endswith("nothing to do")

    shutil.rmtree("data")
    assert run(monkeypatch, "data", "render", "--seed", "9") == 2
    assert "data differs from what data.dvc describes" in capsys.readouterr().err
