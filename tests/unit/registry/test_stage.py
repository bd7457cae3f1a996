"""The stage that registers: what it says and records of a decision, in experiments too."""

from __future__ import annotations

import pytest
from pipelines.register import is_held_back, outcome, promotable

from lookalike.config import Config, RegistryConfig
from lookalike.registry.decisions import PROMOTED, REFUSED, UNCHANGED, Action, Decision
from lookalike.registry.verdict import Gate


def decided(action: Action, *failed: str) -> Decision:
    after = 2 if action == PROMOTED else 1
    gates = tuple(Gate(name, 0.0, "0", False, "why") for name in failed)
    return Decision(action, 2, 1, after, gates, "2026-01-01T00:00:00")


def test_only_an_experiment_is_held_back_and_only_unless_it_may_promote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may = Config(registry=RegistryConfig(promote_experiments=True))
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    assert not is_held_back(Config()) and not is_held_back(may)
    monkeypatch.setenv("DVC_EXP_NAME", "mine")
    assert is_held_back(Config()) and not is_held_back(may)


def test_the_verdict_says_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "mine")
    passed, refused = decided(PROMOTED), decided(REFUSED, "absolute.mAP")
    assert outcome(passed, "promoted", held_back=False) == {
        "promoted": True, "champion": 2, "reason": "promoted",
    }  # fmt: skip
    assert outcome(passed, "promoted", held_back=True) == {
        "promoted": False, "champion": 1, "reason": "passed as experiment mine, not promoted",
    }  # fmt: skip
    for held_back in (False, True):
        assert outcome(refused, "failed: absolute.mAP", held_back) == {
            "promoted": False, "champion": 1, "reason": "failed: absolute.mAP",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("decision", "advised"),
    [
        (decided(PROMOTED), True),
        (decided(REFUSED, "integrity.code"), True),
        (decided(REFUSED, "integrity.code", "absolute.mAP"), False),
        (decided(UNCHANGED), False),
        (decided(UNCHANGED, "integrity.code"), False),
    ],
)
def test_nobody_is_told_to_promote_the_champion(decision: Decision, advised: bool) -> None:
    assert promotable(decision) == advised
