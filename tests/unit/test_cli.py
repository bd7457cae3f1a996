"""The command line: help at once, one line for what the user can mend."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from lookalike.cli import app, main
from lookalike.config import Config
from lookalike.profiles import render
from lookalike.weights import FILES

HEAVY = {"torch", "torchvision", "onnx", "great_expectations", "matplotlib", "cv2", "lpips", "dvc"}
COMMAND = """
import sys
from lookalike.cli import main
try:
    main()
finally:
    print("imported:", *sorted(sys.modules))
"""


def imported(folder: Path, *arguments: str) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """What a command has imported when it is done, and what it said."""
    command = [sys.executable, "-c", COMMAND, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return set(done.stdout.rsplit("imported:", 1)[1].split()), done


# Each line of the input is a command's arguments, as JSON; all run in one process.
COMMANDS = """
import json, sys
from lookalike.cli import main
for line in sys.stdin:
    sys.argv = ["lookalike", *json.loads(line)]
    try:
        main()
    except SystemExit as end:
        print(json.dumps([sys.argv[1:], end.code, sorted(sys.modules)]), flush=True)
"""


def every_command(command: Any, path: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Each command with what it cannot do without: things that are not there."""
    if hasattr(command, "commands"):
        for name, part in sorted(command.commands.items()):
            yield from every_command(part, (*path, name))
        return
    arguments = list(path)
    for parameter in command.params:
        if parameter.required:
            option = [parameter.opts[0]] if parameter.param_type_name == "option" else []
            arguments += [*option, "gone"]
    yield arguments


def refused(folder: Path, commands: list[list[str]]) -> None:
    """Assert that none of these commands does anything, and that none imports what is slow."""
    lines = "".join(json.dumps(arguments) + "\n" for arguments in commands)
    command = [sys.executable, "-c", COMMANDS]
    before = sorted(folder.rglob("*"))
    done = subprocess.run(
        command, input=lines, cwd=folder, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [arguments for arguments, _, _ in answers] == commands
    for arguments, status, modules in answers:
        assert status == 2, f"{arguments} ended with {status}: {done.stderr}"
        assert set(modules) & (HEAVY | {"mlflow", "pandas"}) == set(), f"{arguments} imported it"
    assert sorted(folder.rglob("*")) == before


def test_every_command_asks_for_what_it_needs_before_it_imports(tmp_path: Path) -> None:
    """In a folder in which there is nothing; the lists need nothing, `doctor` looks at PyTorch."""
    answers = ("doctor", "profile list", "weights list")
    every = list(every_command(typer.main.get_command(app)))
    assert len(every) > 20
    refused(tmp_path, [given for given in every if " ".join(given) not in answers])


def test_a_mistake_is_told_before_anything_slow_is_imported(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(render(Config()))
    (tmp_path / "text").write_text("words")
    (tmp_path / "empty").mkdir()
    (tmp_path / "people").mkdir()
    for name in "abcd":
        (tmp_path / "people" / f"{name}.jpg").write_text("a picture by its name")
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "a.jpg").touch()
    generate, output = ["generate", "--output", "b"], ["--output", "b"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = ["--port", str(server.getsockname()[1])]
        refused(
            tmp_path,
            [
                ["serve", *port],
                ["ui", *port],
                ["serve", "--host", "192.0.2.1"],
                ["evaluate", "text"],
                ["evaluate", "text", "--output", "empty"],
                ["evaluate", "people"],
                ["evaluate", "text", "--output", "text"],
                ["distance", "empty", "people"],
                ["distance", "people", "few"],
                ["distance", "people", "gone"],
                ["distance", "people", "people", "--features", "inception"],
                ["distance", "people", "people", "--features", "reid", "--model", "gone"],
                ["embed", "people", "--output", "empty"],
                ["embed", "people", "--output", "text/b"],
                ["embed", "people", *output, "--model", "text"],
                ["search", "gone", "people"],
                ["search", "text", "people"],
                ["search", "people", "people", "--output", "people/a.jpg/b"],
                ["search", "people/a.jpg", "people", "--output", "people/a.jpg"],
                ["index", "text", "--output", "text"],
                ["export", "--output", "text", "--model", "text"],
                ["search", "people", "gone"],
                ["search", "people", "text"],
                ["search", "people", "empty"],
                ["search", "people", "people", "--top", "0"],
                ["export", *output, "--model", "gone"],
                ["export", "--output", "empty"],
                [*generate],
                [*generate, "--seeds", "5-2"],
                [*generate, "--seeds", "1"],
                [*generate, "--seeds", "1", "--generator", "text"],
                [*generate, "--seeds", "1", "--psi", "nan"],
                [*generate, "--input", "gone"],
                [*generate, "--input", "people"],
                ["generate", "--output", "people", "--seeds", "1"],
                ["generate", "--output", "text/b", "--seeds", "1"],
                ["starting-generator", "--start", "gone"],
                ["starting-generator", "--output", "empty"],
                ["starting-generator", "--images", "none"],
                ["latents", "seeds", "x", *output],
                ["latents", "seeds", "1", "--output", "text"],
                ["latents", "mix", "--rows", "1", "--columns", "x", *output],
                ["latents", "interpolate", "1", *output],
                ["latents", "move", "1", *output],
                ["weights", "import", "text"],
                ["weights", "export", "text", "b.safetensors"],
                ["data", "render", "--output", "text"],
                ["data", "render", "--workers", "0"],
                ["data", "import", "text"],
                ["data", "import", "empty"],
                ["data", "import", "people", "--as", "nothing"],
                ["profile", "use", "nothing"],
                ["rehearse", "nothing"],
                ["study", "gone", *output],
                ["study", "text", *output],
                ["study", "text", "--output", "text"],
                ["study", "text", *output, "--page", "empty"],
                ["study", "text", *output, "--workers", "0"],
                ["promote", "one"],
                ["promote", "1", "--force"],
            ],
        )


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    modules, done = imported(tmp_path, "--help")
    assert done.returncode == 0
    assert modules & (HEAVY | {"mlflow", "pandas"}) == set()
    for command in (
        "data",
        "generate",
        "doctor",
        "promote",
        "rollback",
        "registry",
        "summary",
        "search",
    ):
        assert command in done.stdout


def test_a_question_to_the_registry_loads_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take three times as long."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text(render(Config()))
    for arguments, status in ((["registry", "show"], 0), (["rollback"], 2)):
        modules, done = imported(tmp_path, *arguments)
        assert done.returncode == status, done.stderr
        assert "mlflow" in modules
        assert modules & HEAVY == set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summary"], "no parameter file at params.yaml"),
        (
            [
                "data",
                "render",
                "--seed",
                "1",
                "--train-persons",
                "2147483648",
                "--test-persons",
                "2",
                "--images-per-person",
                "4",
                "--distractors",
                "0",
                "--junk",
                "0",
            ],
            "data render: train_persons: Input should be less than 2147483648",
        ),
        (["data", "import", "nowhere"], "nothing at nowhere"),
        (["data", "render", "--output", "x"], "give --seed, --train-persons"),
        (["data", "render", "--seed", "3", "--junk", "0"], "give --train-persons"),
        (["generate", "--input", "a", "--output", "b"], "no folder at a; give --input a folder"),
        (["generate", "--output", "b"], "give either --input FOLDER or --seeds 0-63"),
        (["generate", "--input", "a", "--seeds", "1", "--output", "b"], "give either --input"),
        (["generate", "--seeds", "5-2", "--output", "b"], "5-2 runs backwards"),
        (["generate", "--seeds", "1", "--count", "2", "--output", "b"], "go with --input"),
        (["generate", "--input", "a", "--class", "2", "--output", "b"], "goes with --seeds"),
        (["generate", "--input", "a", "--psi", "0.8", "--output", "b"], "--psi goes with --seeds"),
        (["generate", "--seeds", "1", "--output", "b"], "no weights at artifacts/train_gan"),
        (["weights", "export", "gone.safetensors", "b.safetensors"], "no weights at gone"),
        (["serve"], "no parameter file at params.yaml"),
        (["weights", "import", "nowhere.pkl"], "no file at nowhere.pkl"),
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
    monkeypatch.setattr(sys, "argv", ["lookalike", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == [], "something was left behind"


def test_the_installed_command_shows_no_traceback(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("lookalike"), "serve"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: no parameter file at params.yaml"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["lookalike", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code in (0, None)


@pytest.mark.parametrize("arguments", [["weights"], ["weights", "list"]])
def test_weights_are_listed(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    run(monkeypatch, *arguments)
    printed = capsys.readouterr().out
    for file in FILES.values():
        assert file.name in printed
        assert file.shipped or file.address in printed


def test_a_generator_alone_is_exported_and_draws(
    generator_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without params.yaml, encoder or discriminator."""
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "weights", "export", str(generator_file), "mine.safetensors")
    assert "for tests" in capsys.readouterr().err
    use = ["--generator", "mine.safetensors", "--output"]
    run(monkeypatch, "generate", "--seeds", "0-2,9", *use, "new")
    names = [path.name for path in sorted(Path("new").iterdir())]
    assert names == ["manifest.parquet", *(f"seed00000{i}.jpg" for i in (0, 1, 2, 9))]
    run(monkeypatch, "latents", "seeds", "0", *use, "pictures")
    assert Path("pictures", "seed000000.png").is_file()


def test_data_render_takes_options_over_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text(render(Config()))
    monkeypatch.chdir(tmp_path)
    few = ["--train-persons", "2", "--test-persons", "2", "--images-per-person", "4"]
    run(monkeypatch, "data", "render", "--output", "few", *few, "--junk", "0", "--distractors", "3")
    names = [path.name for path in sorted((tmp_path / "few").rglob("*.jpg"))]
    assert len({name[:4] for name in names if not name.startswith("0000")}) == 4
    assert sum(name.startswith("0000") for name in names) == 3
    assert not any(name.startswith("-1") for name in names)


def test_data_render_leaves_real_data_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text("data: {source: market1501}\n")
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "data", "render")
    assert "nothing to render" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
