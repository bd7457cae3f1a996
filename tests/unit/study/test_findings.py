"""What results say, and how the page says it."""

from __future__ import annotations

import pytest

from lookalike.config import ArmConfig
from lookalike.study.findings import chosen, find, share
from lookalike.study.page import curves_of, findings_table
from lookalike.study.plan import Setting
from lookalike.study.run import Result

BASE = Setting("baseline", None, ArmConfig(images=("none",)))


def setting(arm: str, amount: int, oracle: bool = False) -> Setting:
    return Setting(arm, amount, ArmConfig(images=("persons",), max_persons=amount), oracle)


def result(of: Setting, seed: int, ap: float, validation: float = 0.5) -> Result:
    return Result(
        arm=of.arm,
        amount=of.amount,
        seed=seed,
        key="",
        added_images=8 * (of.amount or 0),
        added_persons=of.amount or 0,
        new_persons=True,
        real_persons=10,
        images_seen=100,
        seconds=1.0,
        commit="0" * 40,
        accuracy=1.0,
        validation={"rank_1": 0.0, "mAP": validation},
        test={"rank_1": 0.5, "mAP": ap, "mINP": 0.1},
        persons={str(person): (2, 2 * ap, 1) for person in range(5)},
    )


def test_gains_and_shares() -> None:
    arms = [BASE, setting("made", 5), setting("made", 9), setting("perfect", 9, oracle=True)]
    level = dict(zip((arm.name for arm in arms), (0.40, 0.38, 0.45, 0.60), strict=True))
    validation = {"made-5": 0.6, "made-9": 0.55}
    results = [
        result(arm, seed, level[arm.name] + 0.01 * seed, validation.get(arm.name, 0.5))
        for seed in (1, 2)
        for arm in arms
    ]
    base, few, many, perfect = findings = find(arms, results)
    assert base.gains["mAP"].mean == 0 and not base.gains["mAP"].clear
    assert many.gains["mAP"].mean == pytest.approx(0.05)
    assert many.gains["mAP"].clear and few.gains["mAP"].high < 0
    assert not many.gains["rank_1"].clear
    assert share(many, findings, "mAP") == pytest.approx(0.25)
    # No oracle of this amount; one without a gain; an oracle itself.
    assert share(few, findings, "mAP") is None
    assert share(many, findings, "rank_1") is None
    assert share(perfect, findings, "mAP") is None
    # Validation persons choose, not test persons.
    assert chosen(findings)["made"] is few
    assert list(curves_of(findings, new_persons=True)) == ["made"]
    assert curves_of(findings, new_persons=False) == {}

    header, rows = (table := findings_table(findings, findings)).header, table.rows
    cells = dict(zip(header, rows[2], strict=True))
    assert cells["arm"] == "made-9" and cells["mAP"] == "46.5 ± 0.7"
    assert cells["mAP gain"] == "+5.0 [+5.0, +5.0]"
    assert dict(zip(header, rows[0], strict=True))["mAP gain"] == "-"
