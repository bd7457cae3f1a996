"""A candidate that answers beside the champion, unheard: only how it differs is recorded.

The candidate runs in a process of its own (this file as a script), so that its own registered code
runs, and its crash or slowness is nobody's trouble. It gets what the champion has answered, a line
of JSON each, and what it cannot keep up with is left out and counted.

Embeddings of two models cannot be compared number by number. What can be compared is who is like
whom: for each picture, its similarities to those before it, and which of them is the nearest.

Imports nothing of this package: see `server.py`, which loads this file by its path.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
WAITING = 8  # requests that the candidate may be behind
RECENT = 256  # pictures that a new one is compared with
LEAST = 16  # fewer of them say nothing
MAX_RECORD = 16 * 1024 * 1024  # bytes of the record, before it becomes NAME.1
NICE = 10  # the champion goes first


class Agreement:
    """The latest embeddings of both models, and how alike the two see them."""

    def __init__(self) -> None:
        self.champion: Floats | None = None
        self.candidate: Floats | None = None

    def add(self, champion: Floats, candidate: Floats) -> tuple[int, int, float]:
        """Compare new pictures with those before them, and keep them.

        Args:
            champion: embeddings [N, C] of unit length.
            candidate: of the same pictures, [N, D].

        Returns:
            How many pictures were compared, for how many of those both models find the same one
            nearest, and the correlation of the models' similarities; 0, 0 and NaN before there are
            `LEAST` to compare with.
        """
        compared, same, correlation = 0, 0, float("nan")
        if self.champion is not None and self.candidate is not None:
            if len(self.champion) >= LEAST:
                here, there = champion @ self.champion.T, candidate @ self.candidate.T
                compared = len(champion)
                same = int((here.argmax(axis=1) == there.argmax(axis=1)).sum())
                if here.std() > 0 and there.std() > 0:
                    correlation = float(np.corrcoef(here.ravel(), there.ravel())[0, 1])
            champion = np.concatenate([self.champion, champion])
            candidate = np.concatenate([self.candidate, candidate])
        self.champion, self.candidate = champion[-RECENT:], candidate[-RECENT:]
        return compared, same, correlation


class Shadow:
    """The candidate's process, and what is known about how it differs.

    Args:
        champion, candidate: as MLflow calls them.
        record: a file of JSON lines, one per request; what is there is kept.
    """

    def __init__(self, champion: str, candidate: str, record: Path):
        self.names, self.record = {"champion": champion, "candidate": candidate}, record
        self.agreement = Agreement()
        self.compared = self.same = self.answered = self.failed = self.skipped = 0
        self.correlation = self.seconds = float("nan")
        self.left: queue.Queue[tuple[bytes, bytes, float]] = queue.Queue(WAITING)
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__, candidate],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl+C is for the champion; this one ends with its input
        )

    def start(self) -> None:
        """Wait until the candidate is loaded, then follow.

        Raises:
            RuntimeError: it cannot be loaded, for the reason that its process has given.
        """
        said = json.loads(self._line() or b'{"message": "its process has ended"}')
        if "message" in said:
            candidate = self.names["candidate"]
            raise RuntimeError(f"the candidate {candidate} cannot be loaded: {said['message']}")
        threading.Thread(target=self._follow, daemon=True).start()

    def offer(self, body: bytes, answer: bytes, seconds: float) -> None:
        """Give the candidate what the champion has answered; never waits.

        Args:
            body: a line of JSON, as MLflow reads it.
            answer: the champion's, JSON with `predictions`.
            seconds: that the champion took.
        """
        try:
            self.left.put_nowait((body, answer, seconds))
        except queue.Full:
            self.skipped += 1

    def figures(self) -> dict[str, tuple[str, float]]:
        """Gauges for a server's metrics: names, what they are, and their values."""
        share = self.same / self.compared if self.compared else float("nan")
        return {
            "shadow_answered": ("Requests that the candidate has answered too.", self.answered),
            "shadow_failed": ("Requests that the candidate could not answer.", self.failed),
            "shadow_skipped": ("Requests that the candidate had no time for.", self.skipped),
            "shadow_same_nearest": ("Share of pictures with one nearest in both models.", share),
            "shadow_correlation": ("Of both models' similarities, last request.", self.correlation),
            "shadow_seconds": ("That the candidate took, last request.", self.seconds),
        }

    def _follow(self) -> None:
        while True:
            body, answer, seconds = self.left.get()
            entry: dict[str, Any] = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                **self.names,
                "champion_seconds": round(seconds, 4),
            }
            began = time.perf_counter()
            try:
                assert self.process.stdin is not None
                self.process.stdin.write(body + b"\n")
                self.process.stdin.flush()
                line = self._line()
                if not line:
                    raise RuntimeError("its process has ended")
                self.seconds = time.perf_counter() - began
                there = json.loads(line)
                if "predictions" not in there:
                    raise RuntimeError(str(there.get("message", "no predictions"))[:300])
                here = np.array(json.loads(answer)["predictions"])
                entry |= self._compare(here, np.array(there["predictions"]))
                self.answered += 1
            except Exception as error:  # whatever it is, it must not reach the champion
                self.failed += 1
                entry["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            try:
                append(self.record, json.dumps(entry))
            except OSError as error:
                logging.getLogger("uvicorn.error").warning(
                    "cannot write %s: %s", self.record, error
                )

    def _compare(self, here: Floats, there: Floats) -> dict[str, object]:
        compared, same, correlation = self.agreement.add(here, there)
        self.compared += compared
        self.same += same
        known: dict[str, object] = {
            "pictures": len(here),
            "candidate_seconds": round(self.seconds, 4),
        }
        if not compared:
            return known
        self.correlation = correlation
        known["same_nearest"] = round(same / compared, 4)
        if np.isfinite(correlation):  # it is not where all similarities are alike
            known["correlation"] = round(correlation, 4)
        return known

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


def append(path: Path, line: str) -> None:
    """Add a line; a file that has become large is put aside as NAME.1 first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > MAX_RECORD:
            path.replace(path.with_name(f"{path.name}.1"))
    with path.open("a") as file:
        file.write(line + "\n")


def answer(model: Any, bodies: IO[bytes], answers: IO[bytes]) -> None:
    """Answer lines with lines until there are no more; the first says that the model is there."""
    from mlflow.pyfunc import scoring_server

    schema = model.metadata.get_input_schema()
    answers.write(b"{}\n")
    answers.flush()
    for body in bodies:
        try:
            text, kind = body.decode(), "application/json"
            said = scoring_server.invocations(text, kind, model, schema)  # type: ignore[no-untyped-call]
            content = json.loads(said.response)
        except Exception as error:
            content = {"message": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(content).encode() + b"\n")
        answers.flush()


def main(uri: str) -> None:
    """Load the candidate; what anything else prints must not come between the answers."""
    from mlflow.pyfunc import load_model

    os.nice(NICE)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        model = load_model(uri)
    except Exception as error:
        answers.write(json.dumps({"message": " ".join(str(error).split())[:300]}).encode() + b"\n")
        answers.flush()
        sys.exit(1)
    answer(model, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main(sys.argv[1])
