"""One stage of a rehearsal, watched; `lookalike rehearse` runs it in the rehearsal's folder."""

from __future__ import annotations

import importlib
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from functools import partial

from lookalike.config import load_config
from lookalike.device import default_device, peak_memory, peak_of_process
from lookalike.failures import last_words
from lookalike.files import write_text
from lookalike.names import PARAMS
from lookalike.rehearsal.stages import STAND_INS, result_file
from lookalike.rehearsal.watch import Stopwatch
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.weights import accept
from pipelines.stage import TRACES, Stage


class MeasuredState(ResumeState):
    """Resume state that knows how large it was."""

    bytes = 0

    def discard(self) -> None:
        """See ResumeState."""
        self.bytes = sum(f.stat().st_size for f in self.folder.rglob("*") if f.is_file())
        super().discard()


@dataclass(frozen=True)
class Rehearsed(Stage):
    """A stage that is tracked by nobody and whose resume state is measured."""

    states: list[MeasuredState] = field(default_factory=list)

    def resume(self, *parts: object) -> ResumeState:
        """See Stage."""
        plain = super().resume(*parts)
        state = MeasuredState(plain.root, plain.stage, plain.folder.name.rpartition("-")[2])
        self.states.append(state)
        return state


def main() -> None:
    """Run the stage that the one argument names, and write down what it took."""
    name = sys.argv[1]
    file, _, part = name.partition("@")
    accept(json.loads(STAND_INS.read_text()))
    device = default_device()
    watch = Stopwatch()
    try:
        config = load_config(PARAMS)
        work = importlib.import_module(f"pipelines.{file}").work
        stage = Rehearsed(name, config, NullTracker())
        stage.folder.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        with watch.watching():
            partial(work, stage, part)() if part else work(stage)
        seconds = time.perf_counter() - began
    except Exception as error:
        sys.exit(last_words(error, name, TRACES))
    files = [path for path in stage.folder.rglob("*") if path.is_file()]
    result = {
        "seconds": seconds,
        "host_bytes": peak_of_process(),
        "device_gib": peak_memory(device) if device.type != "cpu" else 0.0,
        "work": {what: asdict(done) for what, done in watch.work().items()},
        "archive_bytes": sum(path.stat().st_size for path in files if path.suffix == ".zip"),
        "other_bytes": sum(path.stat().st_size for path in files if path.suffix != ".zip"),
        "resume_bytes": sum(state.bytes for state in stage.states),
    }
    write_text(result_file(name), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
