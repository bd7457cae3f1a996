"""Which process does the work, whether it still lives, and how it hears that it should stop."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import psutil  # type: ignore[import-untyped]


def process_tags() -> dict[str, str]:
    """This process' host, id and start time; the latter, because ids are used again."""
    process = psutil.Process()
    return {
        "lookalike.host": socket.gethostname(),
        "lookalike.pid": str(process.pid),
        "lookalike.pid_started": f"{process.create_time():.2f}",
    }


def alive(tags: Mapping[str, str]) -> bool:
    """Whether the process that `process_tags` named still runs; only asked on its own host."""
    try:
        started = float(psutil.Process(int(tags["lookalike.pid"])).create_time())
        return abs(started - float(tags["lookalike.pid_started"])) < 1
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False


class Terminated(SystemExit):
    """SIGTERM came; the process ends with the shell's code for it."""


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into `Terminated` meanwhile, so that runs and files are closed in order.

    Only the main thread can; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Terminated(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
