"""Progress without a terminal: lines in a log, and none from the other processes."""

from __future__ import annotations

import re

import pytest

from lookalike import progress
from lookalike.progress import Progress, say, track


def test_lines_in_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL", -1.0)  # every time
    with Progress("train [gan]", 30, start=10) as bar:
        bar.advance(10, "loss 0.5")
        bar.advance(10)
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second, last = captured.err.splitlines()
    assert re.fullmatch(r"train \[gan\]: 20/30 \(.+/s, \d+ s left\) \| loss 0\.5", first)
    assert second.startswith("train [gan]: 30/30")
    assert re.fullmatch(r"train \[gan\]: 30/30 \(\d+ s, .+/s\) \| loss 0\.5", last)


def test_a_log_is_not_filled_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track([1, 2, 3], "items")) == [1, 2, 3]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_silent_when_not_visible(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL", -1.0)
    with Progress("train", 2, visible=False) as bar:
        bar.advance(2)
    assert bar.count == 2
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_broken_off_work_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Progress("train", 2) as bar:
        bar.advance()
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""


def test_say_takes_text_literally(capsys: pytest.CaptureFixture[str]) -> None:
    say("[red]ids[/] " + "x" * 200)
    assert capsys.readouterr().err == "[red]ids[/] " + "x" * 200 + "\n"
