"""Stages as people call them: what is wrong is one line, whatever it is."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import pytest
from pipelines import stage, weights
from pipelines.stopped import stopped

from lookalike.artifacts import ARTIFACTS
from lookalike.errors import UserError
from lookalike.failures import last_words
from lookalike.weights import home

PIPELINES = Path(stage.__file__).parent


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOOKALIKE_WEIGHTS", raising=False)


@pytest.mark.parametrize(
    ("arguments", "parameters", "said"),
    [
        (["nobody"], "seed: 1", "usage: python -m pipelines.evaluate {baseline,persons,variations"),
        (["persns"], "seed: 1", "evaluate: no such value as persns; did you mean persons?"),
        ([], "seed: 1", "usage: python -m pipelines.evaluate {baseline,persons,variations}"),
        (["baseline"], "reid: {epochs: 0}", "evaluate@baseline: params.yaml: reid.epochs: Input"),
        (["baseline"], "", "evaluate@baseline: no parameter file at params.yaml"),
        (["baseline"], "a: [", "evaluate@baseline: params.yaml is not YAML"),
    ],
)
def test_a_wrong_arm_or_configuration_is_one_line(
    arguments: list[str],
    parameters: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if parameters:
        Path("params.yaml").write_text(parameters)
    monkeypatch.setattr(sys, "argv", ["pipelines/evaluate.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        stage.chosen_arm()
    message = capsys.readouterr().err
    assert caught.value.code == 2 and said in " ".join(message.split())
    assert "Traceback" not in message
    # No other stage reads its parameters before `run` minds the errors; a rehearsal minds its own.
    for file in PIPELINES.glob("*.py"):
        assert (
            file.name in ("stage.py", "weights.py", "rehearse.py")
            or "load_config" not in file.read_text()
        )


@pytest.mark.parametrize(
    ("number", "name"),
    [(errno.ENOTDIR, "a/b.onnx"), (errno.EACCES, "/mnt/x"), (errno.ENOSPC, None)],
)
def test_an_output_that_cannot_be_written_is_one_line(
    number: int, name: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(number, "No such luck", name) if name else OSError(number, "No such luck")
    assert last_words(error, "export") == 2
    said = capsys.readouterr().err
    assert said.startswith("export: ") and "no such luck" in said and "Traceback" not in said
    assert name is None or name in said
    assert last_words(OSError(errno.EPIPE, "Broken pipe"), "export") == 1  # not about a file


def test_a_stage_that_ends_over_a_file_keeps_the_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be an error of ours."""

    def deep_inside_a_stage() -> None:
        Path("nowhere.csv").read_text()

    with pytest.raises(FileNotFoundError) as caught:
        deep_inside_a_stage()
    traces = tmp_path / "errors"
    assert last_words(caught.value, "evaluate@mine", traces) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and "evaluate@mine: nowhere.csv: no such file" in said
    kept = traces / "evaluate-mine.txt"
    assert str(kept) in "".join(said.split("\n"))
    assert "in deep_inside_a_stage" in kept.read_text()
    kept.unlink()
    traces.rmdir()
    traces.write_text("no folder")  # then the line has to do
    assert last_words(caught.value, "evaluate@mine", traces) == 2
    assert str(kept) not in capsys.readouterr().err


def test_a_replaced_file_of_weights_changes_what_its_stage_depends_on() -> None:
    """And nobody else's; what is missing is listed too, and stops the stage that reads it."""
    Path("params.yaml").write_text("gan: {start: mine.safetensors}\n")

    def lists() -> dict[str, str]:
        weights.main()
        return {path.name: path.read_text() for path in ARTIFACTS.weights.iterdir()}

    absent = lists()
    assert absent["train_gan"] == "missing  mine.safetensors\n"
    home(Path()).mkdir()
    file = home(Path()) / "mine.safetensors"
    file.write_bytes(b"one")
    one = lists()
    file.write_bytes(b"two")
    two = lists()
    assert len({absent["train_gan"], one["train_gan"], two["train_gan"]}) == 3
    assert {name for name in two if two[name] != absent[name]} == {"train_gan"}


def test_an_experiments_copy_reads_the_weights_of_its_repository(tmp_path: Path) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    assert home(copy) == tmp_path / "weights"


@pytest.mark.parametrize("lost", [True, False])
def test_what_dvc_has_deleted_for_a_stage_that_refuses_comes_back(
    lost: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ARTIFACTS.filter("persons")
    outs = [{"path": path.as_posix(), "md5": "0"} for path in (made.manifest, made.scores)]
    Path("dvc.lock").write_text(json.dumps({"stages": {"filter@persons": {"outs": outs}}}))
    made.folder.mkdir(parents=True)
    if not lost:
        made.scores.touch()
    refused = UserError("no such value as hogg")
    for name, told in (("filter@persons", lost), ("filter@variations", False)):
        assert stopped(refused, name) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert said.startswith(f"{name}: no such value as hogg")
        assert (
            "(if DVC has deleted outputs for this run, `dvc checkout filter@persons`" in said
        ) is told
    assert stopped(KeyError("ours"), "filter@persons") == 1
    assert "checkout" not in capsys.readouterr().err
