"""`lookalike latents`: what each command leaves, and one line for what the user can mend."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from lookalike.cli import main
from lookalike.config import Config, Group
from lookalike.reid.model import new_reid, save_reid


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lookalike", "latents", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_every_command(
    generator_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the pipeline's own generator, which is the default."""
    monkeypatch.chdir(tmp_path)
    Path("artifacts").mkdir()
    generator_file.parent.rename("artifacts/train_gan")
    Path("artifacts/train_gan/vivid.safetensors").rename(
        "artifacts/train_gan/generator.safetensors"
    )
    commands = {
        "seeds": ["0-1,42", "--psi", "0.5"],
        "mix": ["--rows", "1,2", "--columns", "3-4", "--group", "fine", "--group", "coarse"],
        "interpolate": ["3,4", "--frames", "2"],
        "move": ["3", "--y", "-0.1", "--frames", "4"],
    }
    expected = {
        "seeds": {"seed000000.png", "seed000001.png", "seed000042.png", "seeds.png"},
        "mix": {"mix_fine.png", "mix_coarse.png"},
        "interpolate": {"interpolate.png", "interpolate.mp4"},
        "move": {"move.png", "move.mp4"},
    }
    for name, arguments in commands.items():
        assert run(monkeypatch, name, *arguments, "--output", name) == 0
        files = {path.name for path in Path(name).iterdir()}
        assert files == expected[name] | {f"{name}.json"}
        content = json.loads(Path(name, f"{name}.json").read_text())
        assert set(content["files"]) == expected[name]
        assert {entry["psi"] for entry in content["pictures"]} == {0.5 if name == "seeds" else 0.8}


def test_mixing_draws_every_group_by_default(
    generator_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    options = ["--output", str(output), "--generator", str(generator_file)]
    assert run(monkeypatch, "mix", "--rows", "1", "--columns", "2", *options) == 0
    sheets = {path.stem for path in output.glob("*.png")}
    assert sheets == {f"mix_{group}" for group in get_args(Group)}


def test_layers_are_measured_by_the_baseline(
    conditional_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reid = Config().reid.model_copy(update={"height": 32, "width": 16})
    model, output = tmp_path / "model.safetensors", tmp_path / "out"
    torch.manual_seed(0)
    save_reid(model, new_reid(reid, 2), reid, ["0001", "0002"])
    use = ["--seeds", "0-2", "--class", "6", "--output", str(output), "--model", str(model)]
    assert run(monkeypatch, "layers", *use, "--generator", str(conditional_file)) == 0
    assert {path.name for path in output.iterdir()} == {"layers.csv", "layers.png"}


def test_a_class_by_name(
    conditional_file: Path,
    generator_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = str(tmp_path / "out")
    use = ["--class", "6", "--output", output, "--generator"]
    commands = {
        "seeds": ["1"],
        "mix": ["--rows", "1", "--columns", "2"],
        "interpolate": ["1,2", "--frames", "2"],
        "move": ["1", "--x", "0.1", "--frames", "4"],
    }
    for name, arguments in commands.items():
        assert run(monkeypatch, name, *arguments, *use, str(conditional_file)) == 0
        content = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert all(":class=6" in entry["recipe"] for entry in content["pictures"])
        assert run(monkeypatch, name, *arguments, *use, str(generator_file)) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert line == "error: no class '6': the generator has no classes"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seeds", "5-2"], "5-2 runs backwards"),
        (["seeds", "one"], "write numbers and ranges such as 0-15,42"),
        (
            ["seeds", "1"],
            "no weights at artifacts/train_gan/generator.safetensors; run `dvc repro`",
        ),
        (["seeds", "1", "--generator", "notes.txt"], "notes.txt is not a weights file"),
        (["mix", "--rows", "1", "--columns", "x"], "seeds 'x'"),
        (["mix", "--rows", "1", "--group", "structur"], "--group: no such value as structur; did "),
        (["interpolate", "3"], "seeds '3': give 2 or more, such as 3,17 or 0-4"),
        (["move", "1"], "nothing moves: give --x, --y or --angle"),
        (["interpolate", "1,2"], "no weights at artifacts/train_gan/generator.safetensors"),
        (["move", "1", "--x", "0.1", "--generator", "gone"], "no weights at gone"),
        (["layers", "--seeds", "0-x"], "seeds '0-x'"),
        (["layers", "--seeds", "3"], "seeds '3': give 2 or more"),
        (["layers", "--generator", "gone"], "no weights at gone"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("no weights")
    assert run(monkeypatch, *arguments, "--output", "out") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "options", [["--psi", "nan"], ["--psi", "-1"], ["--x", "inf"], ["--angle", "nan"]]
)
def test_numbers_that_are_none(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "move", "1", "--output", "out", *options) == 2
    assert f"Invalid value for '{options[0]}'" in capsys.readouterr().err
