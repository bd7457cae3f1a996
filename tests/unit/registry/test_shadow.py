"""A candidate beside the champion: what is compared and recorded, and that it troubles nobody."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.registry import shadow
from lookalike.registry.shadow import LEAST, RECENT, WAITING, Agreement, Shadow, append

# Stands for the candidate: a line for a line, in the order in which it is told to.
PLAY = """
import json, sys, time
print("{}", flush=True)
for number, line in enumerate(sys.stdin):
    case = json.loads(line)
    if case.get("sleep"):
        time.sleep(case["sleep"])
    if case.get("die"):
        sys.exit(1)
    print(json.dumps({k: case[k] for k in ("predictions", "message") if k in case}), flush=True)
"""


def units(count: int, dim: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, dim))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shadow:
    """A shadow whose candidate is the script above."""
    script = tmp_path / "candidate.py"
    script.write_text(PLAY)
    started = subprocess.Popen

    def play(command: list[str], **options: Any) -> Any:
        return started([sys.executable, str(script)], **options)

    monkeypatch.setattr(subprocess, "Popen", play)
    made = Shadow("models:/m/1", "models:/m/2", tmp_path / "there" / "shadow.jsonl")
    made.start()
    return made


def ask(beside: Shadow, champion: np.ndarray, candidate: dict[str, object]) -> None:
    answer = json.dumps({"predictions": champion.tolist()}).encode()
    beside.offer(json.dumps(candidate).encode(), answer, 0.1)


def recorded(beside: Shadow, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 30
    lines: list[str] = []
    while len(lines) < count:
        assert time.monotonic() < deadline, lines
        time.sleep(0.01)
        lines = beside.record.read_text().splitlines() if beside.record.is_file() else []
    return [json.loads(line) for line in lines]


def test_a_turned_space_is_the_same_and_a_random_one_is_not() -> None:
    known, new = units(200, 8, 0), units(50, 8, 1)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    turned = Agreement()
    assert turned.add(known, known @ turn)[:2] == (0, 0)
    compared, same, correlation = turned.add(new, new @ turn)
    assert (compared, same) == (50, 50) and correlation == pytest.approx(1.0)
    other = Agreement()
    other.add(known, units(200, 16, 3))
    compared, same, correlation = other.add(new, units(50, 16, 4))
    assert compared == 50 and same < 10 and abs(correlation) < 0.1


def test_only_the_latest_are_kept_and_few_say_nothing() -> None:
    comparison = Agreement()
    few = units(LEAST - 1, 4, 0)
    comparison.add(few, few)
    assert comparison.add(few[:1], few[:1])[0] == 0
    assert comparison.add(few[:1], few[:1])[0] == 1
    comparison.add(units(2 * RECENT, 4, 1), units(2 * RECENT, 4, 1))
    assert comparison.champion is not None and len(comparison.champion) == RECENT


def test_differences_and_failures_are_recorded(beside: Shadow) -> None:
    first, second = units(LEAST, 4, 0), units(4, 4, 1)
    ask(beside, first, {"predictions": first.tolist()})
    ask(beside, second, {"predictions": second.tolist()})
    ask(beside, second, {"message": "image in row 1 is not base64"})
    lines = recorded(beside, 3)
    assert lines[0]["pictures"] == LEAST and "same_nearest" not in lines[0]
    assert lines[1]["same_nearest"] == 1.0 and lines[1]["correlation"] == 1.0
    assert lines[1]["champion"] == "models:/m/1" and lines[1]["candidate"] == "models:/m/2"
    assert "row 1" in lines[2]["error"]
    figures = {name: value for name, (_, value) in beside.figures().items()}
    assert figures["shadow_answered"] == 2 and figures["shadow_failed"] == 1
    assert figures["shadow_same_nearest"] == 1.0


def test_a_slow_or_dead_candidate_keeps_nobody_waiting(beside: Shadow) -> None:
    one = units(1, 4, 0)
    began = time.perf_counter()
    for _ in range(WAITING + 5):
        ask(beside, one, {"predictions": one.tolist(), "sleep": 0.2})
    assert time.perf_counter() - began < 0.2, "nothing is waited for"
    assert beside.skipped >= 4
    recorded(beside, WAITING + 5 - beside.skipped)
    ask(beside, one, {"die": True})
    before = WAITING + 5 - beside.skipped
    assert "its process has ended" in recorded(beside, before + 1)[-1]["error"]
    ask(beside, one, {"predictions": one.tolist()})
    assert "error" in recorded(beside, before + 2)[-1]


def test_a_record_that_is_large_is_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MAX_RECORD", 20)
    path = tmp_path / "new" / "shadow.jsonl"
    for number in range(12):
        append(path, f"line {number:04d}")
    assert path.read_text().splitlines()[-1] == "line 0011"
    assert path.stat().st_size < 40 and path.with_name("shadow.jsonl.1").is_file()


class Model:
    """Answers every body with what it holds; an empty one is too much for it."""

    class metadata:  # noqa: N801 # as MLflow calls it
        @staticmethod
        def get_input_schema() -> None:
            return None

    def predict(self, table: Any, **_: object) -> list[list[float]]:
        if len(table) == 0:
            raise ValueError("no pictures")
        return [[float(value)] for value in table["image"]]


def test_the_candidates_process_answers_a_line_with_a_line() -> None:
    bodies = [
        json.dumps({"dataframe_split": {"columns": ["image"], "data": rows}}).encode() + b"\n"
        for rows in ([[1], [2]], [])
    ]
    answers = io.BytesIO()
    shadow.answer(Model(), io.BytesIO(b"".join(bodies)), answers)
    ready, good, bad = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert ready == {} and good == {"predictions": [[1.0], [2.0]]}
    assert "MlflowException" in bad["message"]
