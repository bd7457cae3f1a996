"""Decisions about versions, their log, and what follows from it: the champion and those before.

Each entry of the log carries the digest of the one that it follows. Of two that follow the same
one, the first counts and the other is void: it was made without knowing of the first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self

from lookalike.errors import UserError
from lookalike.files import write_text
from lookalike.registry.verdict import Gate

PROMOTED: Final = "promoted"
FORCED: Final = "forced"  # promoted although gates failed; the reason is on record
REFUSED: Final = "refused"
UNCHANGED: Final = "unchanged"  # it is the champion already; never on record
ROLLED_BACK: Final = "rolled back"
RETIRED: Final = "retired"  # it must not be used any more; nobody can promote it again
MOVED: Final = "moved by hand"  # the alias was changed outside of lookalike; found, not decided
Action = Literal[
    "promoted", "forced", "refused", "unchanged", "rolled back", "retired", "moved by hand"
]

PAGE_LIMIT = 5000  # characters that MLflow keeps of a description


@dataclass(frozen=True)
class Decision:
    """What was decided about a version, and why; kept for good unless it is a dry run.

    Attributes:
        action: what happened, or would happen.
        version: the version that was judged.
        champion_before, champion_after: the alias' version; None for no champion.
        gates: every verdict; empty for a rollback.
        time: UTC, ISO 8601.
        by: who decided, user@host.
        reason: of a person, for forcing (even where no gate failed), rolling back or retiring.
        dry_run: whether nothing was written.
    """

    action: Action
    version: int
    champion_before: int | None
    champion_after: int | None
    gates: tuple[Gate, ...]
    time: str
    by: str = ""
    reason: str = ""
    dry_run: bool = False

    @property
    def key(self) -> str:
        """Twelve digits that two equal decisions share: times and latencies are left out."""
        verdicts = [(gate.name, gate.bound, gate.passed) for gate in self.gates]
        parts = [self.version, self.champion_before, self.champion_after, verdicts]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "key": self.key, "gates": [gate.as_dict() for gate in self.gates]}

    def as_markdown(self) -> str:
        """A page for people, in MLflow's UI: failed gates first, with their reasons."""
        before, after = (
            f"v{v}" if v else "none" for v in (self.champion_before, self.champion_after)
        )
        lines = [
            f"**v{self.version}: {self.action}** (champion before {before}, after {after})",
            "",
        ]
        lines += [f"{self.time}, {self.by}", ""]
        lines += [f"Reason: {self.reason}", ""] if self.reason else []
        if self.gates:
            lines += ["| gate | value | asked for | |", "| --- | --- | --- | --- |"]
        for gate in sorted(self.gates, key=lambda gate: gate.passed):
            value = f"{gate.value:.4g}" if isinstance(gate.value, float) else gate.value
            verdict = "passed" if gate.passed else f"**failed**: {gate.reason}"
            lines.append(f"| {gate.name} | {value} | {gate.bound} | {verdict} |")
        while len("\n".join(lines)) > PAGE_LIMIT:
            del lines[-1]
        return "\n".join(lines)


@dataclass(frozen=True)
class Entry:
    """A decision in the log.

    Attributes:
        number: its place, from 1; void entries have numbers too.
        digest: sha256 of `text`, as it was when the entry was written.
        text: JSON: the decision, and `previous`, the digest of the entry that it follows.
    """

    number: int
    digest: str
    text: str

    @property
    def intact(self) -> bool:
        """Whether the text is what was written."""
        return hashlib.sha256(self.text.encode()).hexdigest() == self.digest

    @cached_property
    def record(self) -> dict[str, Any]:
        """The text's content; only of an intact entry."""
        record: dict[str, Any] = json.loads(self.text)
        return record

    @cached_property
    def decision(self) -> Decision:
        """What was decided; only of an intact entry."""
        known = {f.name for f in fields(Decision)}
        values = {key: value for key, value in self.record.items() if key in known}
        gates = tuple(Gate(**gate) for gate in values.pop("gates"))
        return Decision(gates=gates, **values)

    @classmethod
    def following(cls, tail: str, number: int, decision: Decision) -> Self:
        """The entry of a decision that was made in knowledge of all up to the one with `tail`."""
        text = json.dumps({"previous": tail, **decision.as_dict()}, sort_keys=True)
        return cls(number, hashlib.sha256(text.encode()).hexdigest(), text)


@dataclass(frozen=True)
class History:
    """What follows from a log.

    Attributes:
        entries: those that count, in order.
        void: entries that came too late.
        champions: versions that were champion and were not rolled back since, each once, the
            latest last.
        champion: the current one; None for none.
        rolled_back: versions that nobody made champion again since.
        retired: versions that are out of use for good.
        last: the last decision about each version.
        applied: whether the aliases follow the last entry already.
        problems: what was changed or taken out, a line each.
    """

    entries: tuple[Entry, ...] = ()
    void: tuple[Entry, ...] = ()
    champions: tuple[int, ...] = ()
    champion: int | None = None
    rolled_back: frozenset[int] = frozenset()
    retired: frozenset[int] = frozenset()
    last: Mapping[int, Decision] = field(default_factory=dict)
    applied: bool = True
    problems: tuple[str, ...] = ()

    @property
    def tail(self) -> str:
        """Digest of the last entry that counts; "" for none."""
        return self.entries[-1].digest if self.entries else ""


def read_history(found: Sequence[Entry], applied: str) -> History:
    """Sort out void entries, derive the champions, and look for what is wrong.

    A promotion puts a version at the end of the champions. A rollback takes the last one out, for
    good: until somebody promotes it again, no rollback returns to it. Retiring takes any out, and
    nobody promotes that one again.

    Args:
        found: all entries, in any order.
        applied: digest of the last entry that the aliases follow; "" for none.
    """
    entries: list[Entry] = []
    void: list[Entry] = []
    champions: list[int] = []
    champion: int | None = None
    rolled_back: set[int] = set()
    retired: set[int] = set()
    last: dict[int, Decision] = {}
    problems: list[str] = []
    known = {""}
    number = 0
    for entry in sorted(found, key=lambda entry: entry.number):
        if entry.number != number + 1:
            problems.append(f"what stood before entry {entry.number} was taken out")
        number = entry.number
        if not entry.intact:
            problems.append(f"entry {entry.number} was changed after it was written")
            continue
        tail = entries[-1].digest if entries else ""
        if entry.record["previous"] != tail:
            if entry.record["previous"] in known:
                void.append(entry)
                continue
            problems.append(f"entry {entry.number} does not follow the one before it")
        known.add(entry.digest)
        entries.append(entry)
        decision = last[entry.decision.version] = entry.decision
        if decision.action == REFUSED:
            continue
        champion = decision.champion_after
        if decision.action == ROLLED_BACK:
            rolled_back.add(decision.version)
        if decision.action == RETIRED:
            retired.add(decision.version)
        if champion is not None:
            rolled_back.discard(champion)
            retired.discard(champion)  # whoever moves the alias by hand puts it to use again
            champions = [v for v in champions if v != champion] + [champion]
        champions = [v for v in champions if v not in rolled_back | retired]
    if applied not in known:
        problems.append("the last entries were taken out")
    tail = entries[-1].digest if entries else ""
    return History(
        tuple(entries),
        tuple(void),
        tuple(champions),
        champion,
        frozenset(rolled_back),
        frozenset(retired),
        last,
        applied == tail,
        tuple(problems),
    )


def keep_copies(history: History, folder: Path) -> None:
    """Write each entry that counts as a file, unless it is there; they show what is cut later."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in history.entries:
            path = folder / f"{entry.number:06d}-{entry.digest[:12]}.json"
            if not path.is_file():
                write_text(path, entry.text + "\n")
    except OSError as error:
        raise UserError(
            f"cannot write copies of decisions to {folder} ({(error.strerror or '').lower()}): it "
            "must be a folder that you may write to"
        ) from error


def lost_copies(history: History, folder: Path) -> list[str]:
    """Decisions that were made here and that the log does not have: it was cut, or replaced.

    Args:
        history: of the log.
        folder: of `keep_copies` on this machine; it need not exist.
    """
    digests = {entry.digest[:12] for entry in history.entries}
    return [
        f"{path} is not in the log: it was cut, or the database replaced; if that was meant, move "
        "this file away"
        for path in sorted(folder.glob("[0-9]*.json"))
        if path.stem.partition("-")[2] not in digests
    ]
