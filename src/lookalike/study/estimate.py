"""How long a study takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lookalike.config import ReidConfig, ReidScheduleConfig
from lookalike.names import counted
from lookalike.report.tables import Table
from lookalike.study.run import Result
from lookalike.study.trainings import Training
from lookalike.tracking import NullTracker

STEPS = 4  # of which the first, which is slower, does not count


def estimate_table(
    trainings: Sequence[Training], results: Sequence[Result], workers: int
) -> tuple[Table, str]:
    """Every training with its length, and a line that says how long those left take.

    The speed is that of the results; where there is none yet, of a few steps now.

    Args:
        trainings: of the study, at least one.
        results: those that are there.
        workers: processes at once.
    """
    done = {(result.arm, result.amount, result.seed): result for result in results}
    if results:
        shown = sum(training.shown for training in trainings if _of(training) in done)
        rate = shown / max(sum(result.seconds for result in results), 1e-9)
        source = f"{counted(len(results), 'finished training')}"
    else:
        rate, source = measured_rate(trainings[0].reid), f"{STEPS - 1} steps just now"
    rows = []
    for training in trainings:
        result = done.get(_of(training))
        images = f"{training.shown:,}"
        seconds = training.shown / rate if result is None else result.seconds
        state = "to do" if result is None else "done"
        generated = f"{int(training.generated.sum()):,}"
        rows.append([training.name, generated, images, f"{seconds:.0f}", state])
    left = [training for training in trainings if _of(training) not in done]
    hours = sum(training.shown for training in left) / rate / min(workers, len(left) or 1) / 3600
    table = Table(["training", "added images", "images seen", "seconds", "state"], rows)
    total = counted(len(trainings), "training")
    return table, (
        f"{len(left)} of {total} left: about {_duration(hours)} with {workers} at once, at "
        f"{rate:.0f} images/s of one thread ({source})"
    )


def _of(training: Training) -> tuple[str, int | None, int]:
    """What a result says it is of."""
    return training.setting.arm, training.setting.amount, training.seed


def measured_rate(reid: ReidConfig) -> float:
    """Images per second of a training by this recipe, on one thread."""
    import torch

    from lookalike.progress import console
    from lookalike.reid.trainer import train_reid
    from lookalike.training.checkpoint import ResumeState
    from lookalike.training.session import Session

    short = reid.model_copy(update={"epochs": 1, "schedule": ReidScheduleConfig()})
    images = np.zeros((STEPS * reid.batch_size, reid.height, reid.width, 3), dtype=np.uint8)
    persons = [str(number // (reid.images_per_person or 2)) for number in range(len(images))]
    clock, threads, quiet = Clock(), torch.get_num_threads(), console.quiet
    torch.set_num_threads(1)
    console.quiet = True
    try:
        with TemporaryDirectory() as folder:
            resume = ResumeState(Path(folder), "estimate", "estimate")
            session = Session(0, reid.precision)
            train_reid(
                short, images, persons, session=session, resume=resume, tracker=clock, initial=None
            )
    finally:
        torch.set_num_threads(threads)
        console.quiet = quiet
    return float(np.median(clock.rates[1:]))


class Clock(NullTracker):
    """Keeps how fast a training was, step by step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """See Tracker."""
        if "images_per_second" in values:
            self.rates.append(values["images_per_second"])


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else counted(math.ceil(60 * hours), "minute")
