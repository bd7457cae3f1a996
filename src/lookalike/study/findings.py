"""What the results of a study say: gains over the baseline, and shares of what oracles gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lookalike.names import BASELINE
from lookalike.study.intervals import Floats, Interval, paired_interval
from lookalike.study.plan import Setting
from lookalike.study.run import Result

MEASURES = ("rank_1", "mAP")


@dataclass(frozen=True)
class Finding:
    """A setting over all seeds.

    Attributes:
        setting: the arm at its amount.
        results: one per seed, in the order of the seeds.
        gains: measure -> over the baseline with the same seeds, on the test persons.
    """

    setting: Setting
    results: Sequence[Result]
    gains: Mapping[str, Interval]

    def mean(self, measure: str) -> float:
        """On the test persons, over seeds."""
        return float(np.mean([result.test[measure] for result in self.results]))

    def spread(self, measure: str) -> float:
        """Standard deviation over seeds; NaN of one."""
        values = [result.test[measure] for result in self.results]
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    @property
    def validation(self) -> float:
        """mAP on validation persons, over seeds: what amounts are chosen by."""
        return float(np.mean([result.validation["mAP"] for result in self.results]))

    @property
    def amount(self) -> float:
        """Added persons, or added images per real person where the added persons are real ones."""
        first = self.results[0]
        if first.new_persons:
            return first.added_persons
        return first.added_images / first.real_persons


def find(settings: Sequence[Setting], results: Sequence[Result]) -> list[Finding]:
    """Each setting's finding, in their order; the baseline's gains are zero.

    Args:
        settings: of the study; those without a result (see `plan_trainings`) are left out.
        results: of all trainings.
    """
    found = []
    of = {
        setting.name: [r for r in results if (r.arm, r.amount) == (setting.arm, setting.amount)]
        for setting in settings
    }
    baseline = of[BASELINE]
    queries = np.array([sums[0] for sums in baseline[0].persons.values()], dtype=float)
    for setting in settings:
        mine = of[setting.name]
        if not mine:
            continue
        gains = {
            measure: paired_interval(_sums(mine, measure), _sums(baseline, measure), queries)
            for measure in MEASURES
        }
        found.append(Finding(setting, mine, gains))
    return found


def _sums(results: Sequence[Result], measure: str) -> Floats:
    """[seeds, persons]."""
    column = {"mAP": 1, "rank_1": 2}[measure]
    return np.array([[sums[column] for sums in r.persons.values()] for r in results], dtype=float)


def chosen(findings: Sequence[Finding]) -> dict[str, Finding]:
    """Each arm at the amount that validation persons choose; of equals, the smaller one."""
    best: dict[str, Finding] = {}
    for finding in findings:
        arm = finding.setting.arm
        if arm not in best or finding.validation > best[arm].validation:
            best[arm] = finding
    return best


def oracle_of(finding: Finding, findings: Sequence[Finding]) -> Finding | None:
    """The oracle with the same kinds and limits; None for oracles and where there is none."""
    mine = finding.setting
    if mine.oracle:
        return None

    def limits(setting: Setting) -> tuple[object, ...]:
        arm = setting.config
        return arm.images, arm.max_persons, arm.max_images_per_person

    same = (f for f in findings if f.setting.oracle and limits(f.setting) == limits(mine))
    return next(same, None)


def share(finding: Finding, findings: Sequence[Finding], measure: str) -> float | None:
    """The gain as a fraction of the oracle's; None where the oracle's is not clear of zero."""
    oracle = oracle_of(finding, findings)
    if oracle is None or oracle.gains[measure].low <= 0:
        return None
    return finding.gains[measure].mean / oracle.gains[measure].mean
