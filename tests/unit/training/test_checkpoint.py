"""Weights and resume state: exact, atomic, and nothing in a file is ever run."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from lookalike.training.checkpoint import ResumeState, fingerprint


class Malicious:
    """Unpickling it runs a command."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.system, (f"touch '{self.marker}'",)


def test_pickles_do_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    resume = ResumeState(tmp_path, "train", "abc")
    resume.save({"a": 1})
    torch.save({"a": Malicious(marker)}, resume.path)
    assert resume.load() is None
    assert not marker.exists()


def test_damaged_state_is_a_line_and_a_fresh_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resume = ResumeState(tmp_path, "train_gan", "abc")
    resume.save({"images_seen": 8, "weights": torch.zeros(1000)})
    whole = resume.path.read_bytes()
    for damaged in (b"", whole[:10], whole[: len(whole) // 2], whole[:-30], b"x" * 2000):
        resume.path.write_bytes(damaged)
        assert resume.load() is None
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"train_gan: {resume.path} is damaged; fresh start"
    resume.save({"images_seen": 16})
    assert resume.load() == {"images_seen": 16}


def test_state_of_an_older_version_is_a_line_and_a_fresh_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resume = ResumeState(tmp_path, "train_gan", "abc")
    resume.folder.mkdir(parents=True)
    torch.save({"images_seen": 8}, resume.path)  # without a version: the first
    assert resume.load() is None
    assert capsys.readouterr().err.endswith("is another version's; fresh start\n")


def test_kept_files_come_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resume, samples = ResumeState(tmp_path / "resume", "gan", "abc"), tmp_path / "samples"
    resume.restore(samples)
    assert not samples.exists()
    samples.mkdir()
    for name in ("0.png", "8.png"):
        (samples / name).write_text(name)
        resume.keep(samples / name)
    shutil.rmtree(samples)
    assert resume.load() is None, "killed before its first checkpoint"
    assert capsys.readouterr().err == ""
    resume.restore(samples)
    assert [(p.name, p.read_text()) for p in sorted(samples.iterdir())] == [
        ("0.png", "0.png"),
        ("8.png", "8.png"),
    ]
    resume.discard()
    assert list((tmp_path / "resume").iterdir()) == []


def test_state_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resume = ResumeState(tmp_path / "resume", "train_gan", "abc")
    assert resume.load() is None
    assert capsys.readouterr().err == ""
    adam = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.rand(3)}}, "lr": 0.1}
    resume.save({"images_seen": 320, "history": [{"a": 0.5}], "adam": adam})
    state = ResumeState(tmp_path / "resume", "train_gan", "abc").load()
    assert state is not None
    assert (state["images_seen"], state["history"]) == (320, [{"a": 0.5}])
    torch.testing.assert_close(state["adam"], adam, rtol=0, atol=0)
    assert "train_gan: resuming at 320 images" in capsys.readouterr().err


def test_a_failed_save_leaves_the_old_state(tmp_path: Path) -> None:
    resume = ResumeState(tmp_path, "train", "abc")
    resume.save({"images_seen": 8})
    with pytest.raises((pickle.PicklingError, AttributeError)):
        resume.save({"images_seen": 16, "weights": torch.zeros(1000), "bad": lambda: None})
    state = resume.load()
    assert state == {"images_seen": 8}


def test_stale_state_is_dropped_and_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, namesake = (
        ResumeState(tmp_path, stage, fingerprint("old")) for stage in ("reid-a", "reid-a-few")
    )
    old.save({"images_seen": 8})
    namesake.save({"images_seen": 16})
    assert ResumeState(tmp_path, "reid-a", fingerprint("new")).load() is None
    assert "parameters or data changed" in capsys.readouterr().err
    assert not old.path.exists()
    assert namesake.load() == {"images_seen": 16}, "another stage's"


def test_discard(tmp_path: Path) -> None:
    resume = ResumeState(tmp_path, "train", "abc")
    resume.save({"images_seen": 8})
    resume.discard()
    assert resume.load() is None
    resume.discard()  # nothing there: no matter
    assert list(tmp_path.iterdir()) == []


def test_fingerprint_sees_parts_and_their_bounds() -> None:
    assert fingerprint("a", 1) == fingerprint("a", 1)
    assert len({fingerprint("a", "b"), fingerprint("ab"), fingerprint("b", "a")}) == 3
    assert len(fingerprint("a")) == 12
