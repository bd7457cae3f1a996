"""What follows from a log of decisions, in numbers and without MLflow."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lookalike.errors import UserError
from lookalike.registry.decisions import (
    Action,
    Decision,
    Entry,
    History,
    keep_copies,
    lost_copies,
    read_history,
)
from lookalike.registry.verdict import Gate


def promoted(version: int, before: int | None = None, action: Action = "promoted") -> Decision:
    gates = (Gate("absolute.mAP", 0.5, ">= 0.3", True, "0.5 is >= 0.3"),)
    return Decision(action, version, before, version, gates, "2026-01-01T00:00:00.000+00:00", "a@b")


def log_of(*decisions: Decision) -> list[Entry]:
    """Entries that follow each other."""
    entries: list[Entry] = []
    for number, decision in enumerate(decisions, 1):
        tail = entries[-1].digest if entries else ""
        entries.append(Entry.following(tail, number, decision))
    return entries


def after(*steps: int | str) -> History:
    """The history where versions were promoted, refused (-3) and rolled back ("back")."""
    history, decisions = History(), []
    for step in steps:
        before = history.champion
        if isinstance(step, int) and step > 0:
            decision = promoted(step, before)
        elif isinstance(step, int):
            decision = replace(promoted(-step, before, "refused"), champion_after=before)
        else:
            assert before is not None
            (*_, target, _) = history.champions
            decision = replace(promoted(before, before, "rolled back"), champion_after=target)
        decisions.append(decision)
        history = read_history(log_of(*decisions), "")
        assert history.champion == decision.champion_after
    return history


@pytest.mark.parametrize(
    ("steps", "champions", "rolled_back"),
    [
        ((), (), set()),
        ((1, 2, 3), (1, 2, 3), set()),
        ((1, -2, 3), (1, 3), set()),
        ((1, 2, "back"), (1,), {2}),
        # 2 came back by hand. It is champion once: a rollback from it must not end at it.
        ((1, 2, 3, 2), (1, 3, 2), set()),
        ((1, 2, 3, 2, "back"), (1, 3), {2}),
        ((1, 2, 3, 2, "back", "back"), (1,), {2, 3}),
        # What was rolled back counts again when somebody promotes it again, by hand.
        ((1, 2, "back", 2), (1, 2), set()),
        ((1, 2, "back", -2), (1,), {2}),
    ],
)
def test_the_champions_before(
    steps: tuple[int | str, ...], champions: tuple[int, ...], rolled_back: set[int]
) -> None:
    history = after(*steps)
    assert (history.champions, history.rolled_back) == (champions, rolled_back)


def test_of_two_that_follow_the_same_entry_the_first_counts() -> None:
    first, second = log_of(promoted(1), promoted(2, 1))
    late = Entry.following(first.digest, 3, promoted(3, 1))
    again = Entry.following(second.digest, 4, promoted(3, 2))
    history = read_history([again, late, second, first], applied=again.digest)
    assert history.entries == (first, second, again) and history.void == (late,)
    assert history.champions == (1, 2, 3) and history.applied and history.problems == ()


def test_an_entry_keeps_the_decision() -> None:
    gate = Gate("absolute.mAP", float("nan"), ">= 0.3", False, "nan is not a finite number")
    decision = replace(promoted(3, 2), gates=(gate,), reason="customers wait")
    kept = Entry.following("", 1, decision)
    assert replace(kept.decision, gates=()) == replace(decision, gates=())
    assert kept.decision.key == decision.key
    json.loads(kept.text, parse_constant=pytest.fail)  # NaN is no JSON


def changed(log: list[Entry]) -> list[Entry]:
    return [log[0], replace(log[1], text=log[1].text.replace("a@b", "c@d")), log[2]]


@pytest.mark.parametrize(
    ("tampered", "problem"),
    [
        (changed, "entry 2 was changed"),
        (lambda log: [log[0], replace(log[1], text=""), log[2]], "entry 2 was changed"),
        (lambda log: [*log[:2], replace(log[2], text="{}")], "entry 3 was changed"),
        (lambda log: [log[0], log[2]], "before entry 3 was taken out"),
        (lambda log: log[:2], "the last entries were taken out"),
        (lambda log: [], "the last entries were taken out"),
    ],
)
def test_what_was_changed_or_taken_out_is_told(tampered, problem: str) -> None:  # type: ignore[no-untyped-def]
    log = log_of(promoted(1), promoted(2, 1), promoted(3, 2))
    assert read_history(log, log[-1].digest).problems == ()
    assert problem in " ".join(read_history(tampered(log), log[-1].digest).problems)


def test_copies_show_that_a_log_was_replaced(tmp_path: Path) -> None:
    log = log_of(promoted(1), promoted(2, 1))
    keep_copies(read_history(log, ""), tmp_path / "x")
    keep_copies(read_history(log, ""), tmp_path / "x")
    assert len(list((tmp_path / "x").iterdir())) == 2
    assert lost_copies(read_history(log, ""), tmp_path / "x") == []
    assert lost_copies(read_history(log, ""), tmp_path / "nowhere") == []
    (problem,) = lost_copies(read_history(log[:1], ""), tmp_path / "x")
    assert "000002" in problem and "not in the log" in problem
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write copies of decisions to .*file"):
        keep_copies(read_history(log, ""), tmp_path / "file")


def test_the_page_tells_failed_gates_first_and_fits() -> None:
    gates = [Gate(f"slices.rank_1.camera_{n}", 0.5, ">= 0.3", True, "fine") for n in range(200)]
    gates.append(Gate("absolute.mAP", 0.1, ">= 0.3", False, "0.1 is not >= 0.3"))
    page = replace(promoted(2, 1, "forced"), gates=tuple(gates), reason="a demo").as_markdown()
    lines = page.splitlines()
    assert "v2: forced" in lines[0] and "before v1, after v2" in lines[0]
    assert "Reason: a demo" in lines
    first = next(line for line in lines if line.startswith("| ") and "0.1" in line)
    assert lines.index(first) < 10 and "**failed**: 0.1 is not >= 0.3" in first
    assert len(page) <= 5000
