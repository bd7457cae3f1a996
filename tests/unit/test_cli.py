"""The command line: help at once, one line for what the user can mend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lookalike.cli import main

HELP = """
import sys
from lookalike.cli import main
sys.argv = ["lookalike", "--help"]
try:
    main()
finally:
    heavy = {"torch", "mlflow", "great_expectations", "matplotlib", "cv2", "lpips", "dvc", "pandas"}
    print("imported:", sorted(heavy & set(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert "imported: []" in done.stdout
    for command in ("data", "generate", "doctor", "promote", "rollback", "registry", "summary"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summary"], "no parameter file at params.yaml"),
        (["data", "import", "nowhere"], "nothing at nowhere"),
        (["data", "render", "--output", "x"], "give --seed, --train-persons"),
        (["data", "render", "--seed", "3", "--junk", "0"], "give --train-persons"),
        (["generate", "--input", "a", "--output", "b"], "no parameter file at params.yaml"),
        (["serve"], "no parameter file at params.yaml"),
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
