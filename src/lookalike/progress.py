"""Progress of long work: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from lookalike.addresses import hidden

T = TypeVar("T")
console = Console(stderr=True, soft_wrap=True)
LOG_INTERVAL = 10.0  # seconds between lines where there is no terminal


# Called with each progress when it begins, when it advances and when it has ended.
watchers: list[Callable[[Progress], None]] = []


class Progress:
    """Counts towards `total`; a context manager.

    On a terminal it draws a bar with the time left. Elsewhere (DVC's output in a file, CI) it
    writes a line every ten seconds, so that a log shows life without filling up.
    `visible=False` (the processes other than the main one) is silent.
    """

    def __init__(self, description: str, total: int, *, start: int = 0, visible: bool = True):
        self.description, self.total, self.count, self.note = description, total, start, ""
        self._first, self._began = start, time.monotonic()
        self._reported = self._began
        self._bar: RichProgress | None = None
        self._visible = visible
        if visible and sys.stderr.isatty():
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(description, total=total, completed=start, note="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        self._tell()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
        if self._visible and kind is None:
            self._line(done=True)
        self._tell()

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count `amount` more; `note` (say, the current loss) stands beside the count."""
        self.count += amount
        if note is not None:
            self.note = note
        if self._bar:
            self._bar.update(self._task, completed=self.count, note=self.note)
        elif self._visible and time.monotonic() - self._reported > LOG_INTERVAL:
            self._line()
        self._tell()

    def _tell(self) -> None:
        for watcher in watchers:
            watcher(self)

    def _line(self, done: bool = False) -> None:
        now = time.monotonic()
        self._reported = now
        elapsed = max(now - self._began, 1e-9)
        rate = (self.count - self._first) / elapsed
        if done:
            timing = f"{elapsed:.0f} s, {rate:.1f}/s"
        else:
            left = (self.total - self.count) / max(rate, 1e-9)
            timing = f"{rate:.1f}/s, {left:.0f} s left"
        note = f" | {self.note}" if self.note else ""
        console.print(
            f"{self.description}: {self.count}/{self.total} ({timing}){note}",
            highlight=False,
            markup=False,
        )


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` one by one while showing progress."""
    if total is None:
        assert isinstance(items, Sized), "give the total of an iterable without a length"
        total = len(items)
    with Progress(description, total) as progress:
        for item in items:
            yield item
            progress.advance()


def say(message: str) -> None:
    """One line for the person who watches, on stderr; without credentials."""
    console.print(hidden(message), highlight=False, markup=False)
