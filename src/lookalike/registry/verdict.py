"""A gate's verdict: what gates give, decisions keep and people read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Gate:
    """One verdict.

    Attributes:
        name: family and what is judged, say `absolute.rank_1`.
        value: what was measured; None where it is missing.
        bound: what was asked for, in words.
        passed: the verdict.
        reason: one line for a person.
    """

    name: str
    value: float | str | None
    bound: str
    passed: bool
    reason: str

    def as_dict(self) -> dict[str, object]:
        """For JSON; NaN and infinity, which JSON does not know, as text."""
        fields = asdict(self)
        if isinstance(self.value, float) and not math.isfinite(self.value):
            fields["value"] = str(self.value)
        return fields


def failures(gates: Sequence[Gate]) -> dict[str, str]:
    """Name and reason of each gate that did not pass."""
    return {gate.name: gate.reason for gate in gates if not gate.passed}
