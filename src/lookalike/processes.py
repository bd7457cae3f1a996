"""Which process does the work, whether it still lives, and how it hears that it should stop."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

import psutil  # type: ignore[import-untyped]

from lookalike.progress import say

QUIET = 2.0  # seconds of waiting before a word about it
LOOK = 0.5  # seconds from one look at DVC to the next
LAST = 30.0  # seconds that a stage has to end in order


def process_tags() -> dict[str, str]:
    """This process' host, id and start time; the latter, because ids are used again."""
    process = psutil.Process()
    return {
        "lookalike.host": socket.gethostname(),
        "lookalike.pid": str(process.pid),
        "lookalike.pid_started": f"{_started(process):.2f}",
    }


def alive(tags: Mapping[str, str]) -> bool:
    """Whether the process that `process_tags` named still runs; only asked on its own host."""
    try:
        started = _started(psutil.Process(int(tags["lookalike.pid"])))
        return abs(started - float(tags["lookalike.pid_started"])) < 2
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False


def _started(process: psutil.Process) -> float:
    """Seconds from the machine's start to the process'.

    Not the time of day: when the clock is set, that of a process' start moves with it. Both are
    told in whole seconds, more or less.
    """
    return float(process.create_time() - psutil.boot_time())


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock file, for as long as it takes to get it; with a word after a while.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        _take(stream, path)  # the kernel lets go when the process dies
        yield


def _take(stream: IO[str], path: Path) -> None:
    began, told = time.monotonic(), False
    while True:
        try:
            return fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told and time.monotonic() - began > QUIET:
                say(f"waiting for another process of this checkout, which holds {path}")
                told = True
            time.sleep(0.02)


def end_with_dvc() -> None:
    """End in order, as after SIGTERM, when the DVC that started this process is gone.

    Nobody would record what it makes, and the next `dvc repro` starts the stage again. Where DVC
    has started nothing, this does nothing.
    """
    if "DVC_STAGE" in os.environ and (found := _below_dvc()) is not None:
        threading.Thread(target=_watch, args=found, daemon=True).start()


def _below_dvc() -> tuple[psutil.Process, int] | None:
    """The process that DVC started, this one or a launcher, and DVC's id.

    DVC tells the stage's name to those that it starts, and does not have it itself.
    """
    process = psutil.Process()
    try:
        while (parent := process.parent()) is not None:
            if "DVC_STAGE" not in parent.environ():
                return process, parent.pid
            process = parent
    except psutil.Error:  # somebody else's: no launcher of ours
        return process, process.ppid()
    return None


def _watch(started: psutil.Process, dvc: int) -> None:
    try:
        while started.ppid() == dvc:  # an orphan is another's child at once
            time.sleep(LOOK)
    except psutil.NoSuchProcess:  # the launcher went with DVC
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST)
    os._exit(128 + signal.SIGTERM)


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
