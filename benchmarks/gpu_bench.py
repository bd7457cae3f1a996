"""What the parts of `gpu.py` share: a device, a clock that runs out, and rows that are kept."""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Works from a bare checkout too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import torch

Row = dict[str, float | str | bool]
LONGEST = 300  # characters of an error; a compiler's can fill pages
ENOUGH = 1.0  # seconds of repeats; two take place all the same


class TimeUp(Exception):  # noqa: N818 - not an error
    """No time is left for another row."""


class Bench:
    """One device and precision.

    Args:
        device: cuda, cuda:1, ..., or cpu for a trial.
        dtype: of what autocast reduces.
        quick: tiny sizes and single repeats, which try the harness.
        seconds: from now, after which no row begins.
        output: the JSON file that holds the rows so far.

    Attributes:
        about: what stands in the JSON beside the rows.
        rows: what was measured, each with its `part` and `name`.
        failed: what broke, a line each.
        part: which is being measured.
    """

    def __init__(
        self, device: str, dtype: torch.dtype, quick: bool, seconds: float, output: Path
    ) -> None:
        self.device, self.dtype, self.quick = torch.device(device), dtype, quick
        self.cuda = self.device.type == "cuda"
        self.repeats = 1 if quick else 5
        self.ends = time.monotonic() + seconds
        self.output = output
        self.about: dict[str, object] = {}
        self.rows: list[Row] = []
        self.failed: list[str] = []
        self.part = ""

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    def seconds(self, work: Callable[[], object]) -> float:
        """Median of the repeats, after a run that compiles and warms up; fewer of long work."""
        work()
        taken: list[float] = []
        while len(taken) < self.repeats and (len(taken) < 2 or sum(taken) < ENOUGH):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.cuda:
            torch.cuda.synchronize()

    def autocast(self) -> torch.autocast:
        """The trainers' mixed precision."""
        enabled = self.dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled)

    def peak_gib(self) -> float:
        """Of the device's memory, in this row."""
        return torch.cuda.max_memory_allocated() / 2**30 if self.cuda else float("nan")

    @contextmanager
    def row(self, name: str) -> Iterator[Row]:
        """Start a row; what is put into it is kept. One that fails says so and costs no other.

        Raises:
            TimeUp: instead of another one.
        """
        if self.left <= 0:
            raise TimeUp
        row: Row = {"part": self.part, "name": name}
        self.rows.append(row)
        print(f"{name:36}", end="", flush=True)
        with self.guarded(name):
            try:
                yield row
            except torch.OutOfMemoryError:
                row["out_of_memory"] = True
                print("  out of memory", flush=True)
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        self.keep()

    @contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """An error is a line among those of `failed`."""
        try:
            yield
        except TimeUp:
            raise
        except (Exception, SystemExit) as error:  # the latter: numbers disagree
            kind = "" if isinstance(error, SystemExit) else f"{type(error).__name__}: "
            said = (str(error).strip().splitlines() or [""])[0]
            self.failed.append(f"{self.part}: {what}: {kind}{said}"[:LONGEST])
            print(f"\n{self.failed[-1]}", flush=True)

    def keep(self) -> None:
        """Write what is known so far: a run that is cut off loses one row."""
        rows = [
            {name: None if _is_nan(value) else value for name, value in row.items()}
            for row in self.rows
        ]
        found = self.about | {"failed": self.failed, "rows": rows}
        self.output.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")

    def show(self, row: Row, **values: float) -> None:
        """Keep numbers and print them, each under a head of 12 characters."""
        for name, value in values.items():
            row[name] = value
            print(f"{value:12.4g}", end="", flush=True)


def _is_nan(value: float | str | bool) -> bool:
    return isinstance(value, float) and math.isnan(value)


def head(first: str, *names: str) -> None:
    """Print the head of a table for `show`."""
    print(f"{first:36}" + "".join(f"{name:>12}" for name in names), flush=True)
