"""What a stage did while it was watched, and how fast, by its progress bars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lookalike.progress import Progress, watchers

Marks = list[tuple[float, int]]  # when a bar had counted how much


@dataclass(frozen=True)
class Work:
    """What the bars of one name counted together.

    Attributes:
        count: images, or whatever they count.
        seconds: from their beginnings to their ends, without what other bars counted meanwhile.
        each: seconds for one more. What came with the first advance of a bar (a batch that warms
            up, compiles, or regularises) is left out where there is more.
    """

    count: int
    seconds: float
    each: float


class Stopwatch:
    """Notes when bars advance.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.clock = clock
        self._marks: dict[Progress, Marks] = {}

    def __call__(self, bar: Progress) -> None:
        """A bar began, advanced or ended."""
        self._marks.setdefault(bar, []).append((self.clock(), bar.count))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch all bars of this process meanwhile."""
        watchers.append(self)
        try:
            yield
        finally:
            watchers.remove(self)

    def work(self) -> dict[str, Work]:
        """By the bars' names, in the order in which they began."""
        found: dict[str, list[Marks]] = {}
        for bar, marks in self._marks.items():
            found.setdefault(bar.description, []).append(self._alone(marks))
        return {name: _together(bars) for name, bars in found.items()}

    def _alone(self, marks: Marks) -> Marks:
        """Marks by a clock that stands still while bars within this one count."""
        spans = [(m[0][0], m[-1][0]) for m in self._marks.values() if m is not marks]
        begin, end = marks[0][0], marks[-1][0]
        inner: list[tuple[float, float]] = []
        for first, last in sorted(span for span in spans if begin <= span[0] and span[1] <= end):
            if not inner or last > inner[-1][1]:  # else it lies within the one before
                inner.append((first, last))
        return [
            (at - sum(min(at, last) - first for first, last in inner if first < at), count)
            for at, count in marks
        ]


def _together(bars: list[Marks]) -> Work:
    count = sum(marks[-1][1] - marks[0][1] for marks in bars)
    seconds = sum(marks[-1][0] - marks[0][0] for marks in bars)
    advanced = [[mark for mark in marks if mark[1] > marks[0][1]] for marks in bars]
    # From the first advance to the last one: not to the end, by when a model may be saved.
    later = [(marks[0], _reached(marks)) for marks in advanced if marks]
    warm = sum(end[1] - first[1] for first, end in later)
    if warm:
        each = sum(end[0] - first[0] for first, end in later) / warm
    else:
        each = seconds / count if count else 0.0
    return Work(count, seconds, each)


def _reached(marks: Marks) -> tuple[float, int]:
    """The first mark with the final count."""
    return next(mark for mark in marks if mark[1] == marks[-1][1])
