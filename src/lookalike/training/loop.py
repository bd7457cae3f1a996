"""What the three trainers do alike around their steps.

Progress is counted in images seen. The loop reads batches ahead, draws curves, measures now and
then, and writes checkpoints. A trainer registers whatever moves, once: it is then loaded, compared
among the processes and saved. What remains for the trainer is the step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lookalike.device import finish_work, peak_memory
from lookalike.errors import UserError
from lookalike.progress import Progress
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.curves import Curves, Reading
from lookalike.training.prefetch import Prefetch
from lookalike.training.session import Session, Stateful, crossed, steps_for

Batch = TypeVar("Batch")
Row = dict[str, float]
History = list[Row]


def nothing() -> None:
    """Do nothing."""


class Loop:
    """Carries a training from its first image, or the last checkpoint, to its last.

    Each point of a curve has the means since the last one, `images_per_second` and `data_wait` (the
    share of the time spent waiting for images) of training alone, and `memory_gib`, the peak so
    far. Points reach the tracker right after the checkpoint that holds them, with the images seen
    as step. A resumed run first hands over those of the checkpoint that had not all arrived: none
    is lacking, and none comes twice but for a kill in the middle of that. If it diverges, those
    before are handed over.

    Args:
        name: of the training, for messages.
        images: to show at least; rounded up to whole batches.
        batch_size: of the global batch.
        session: this process.
        resume: where to go on from, and where checkpoints are written.
        tracker: gets the points.
        point_steps: steps from one point of the curves to the next.
        checkpoint_images: images from one checkpoint to the next; there is one at the end, too.
        shown: names of the curves whose last value stands beside the progress.
        remedy: what to lower when a number is no longer finite.
        same: what a resumed run must have in common with the interrupted one, by what it is called.

    Attributes:
        images_seen: so far, by all processes together.
        total: images to show.
        curves: where a step adds what it measures.
        points, measurements: the rows of the curves without what depends on the clock, and of what
            `measure` returned, each with `images`; on the main process.
    """

    def __init__(
        self,
        name: str,
        *,
        images: float,
        batch_size: int,
        session: Session,
        resume: ResumeState,
        tracker: Tracker,
        point_steps: int,
        checkpoint_images: int,
        shown: Sequence[str],
        remedy: str,
        same: Mapping[str, Any] | None = None,
    ):
        self.name, self.batch_size, self.session = name, batch_size, session
        self.resume, self.tracker = resume, tracker
        self.total = steps_for(images, batch_size) * batch_size
        self.point_steps, self.checkpoint_images = point_steps, checkpoint_images
        self.shown, self.remedy, self.same = shown, remedy, dict(same or {})
        self.images_seen = 0
        self.curves = Curves(session)
        self.points: History = []
        self.measurements: History = []
        self._parts: dict[str, Stateful] = {}
        self._replicated: dict[str, Stateful] = {}
        self._untold: list[tuple[Row, int]] = []  # for the tracker, after the next checkpoint
        self._taken: tuple[Reading, Row, Row, int] | None = None  # a point that is not yet read
        self._clock, self._clocked = 0.0, 0  # when the current point began, and at which image
        self._note = ""

    def register(self, parts: Mapping[str, Stateful], *, replicated: bool = True) -> None:
        """Name what a checkpoint holds: networks, optimisers, whatever else moves.

        `replicated`: every process has the same, which is checked before anything is saved.
        """
        assert not parts.keys() & self._parts.keys()
        self._parts |= parts
        self._replicated |= parts if replicated else {}

    def run(
        self,
        step: Callable[[Batch, int], None],
        read: Callable[[int], Batch],
        *,
        measure: Callable[[int], Mapping[str, float]] | None = None,
        due: Callable[[int], bool] | None = None,
        settle: Callable[[], None] = nothing,
    ) -> None:
        """Train up to `total`.

        Args:
            step: trains on one batch, at the images seen before it.
            read: this process' share of the batch that begins at an image; in a thread, ahead.
            measure: called by every process, at the images seen; the main one's values count.
            due: whether to measure, at the images seen; at the end it is measured in any case.
            settle: brings together what differs between processes; called before measuring and
                saving.

        Raises:
            UserError: the loss is no longer finite, the processes differ, or the saved state is of
                something else.
        """
        self._load()
        if measure and due and self.images_seen == 0 and due(0):
            self._measure(measure)
        positions = range(self.images_seen, self.total, self.batch_size)
        progress = Progress(
            self.name, self.total, start=self.images_seen, visible=self.session.is_main
        )
        with Prefetch(read, positions) as batches, progress:
            self._clock, self._clocked = time.monotonic(), self.images_seen
            for batch in batches:
                step(batch, self.images_seen)
                self.images_seen += self.batch_size
                self._read_point()  # the last one: the device had a step's time to copy it
                end = self.images_seen == self.total
                if end or self.images_seen // self.batch_size % self.point_steps == 0:
                    self._take_point(batches.waited)
                    batches.waited = 0.0
                progress.advance(self.batch_size, self._note)

                measured = end or (due is not None and due(self.images_seen))
                saved = end or crossed(self.images_seen, self.batch_size, self.checkpoint_images)
                if (measured and measure) or saved:
                    self._read_point()
                    finish_work(self.session.device)
                    began = time.monotonic()
                    settle()
                    if measured and measure:
                        self._measure(measure)
                    if saved:
                        self._save()
                    self._clock += time.monotonic() - began  # rates are of training alone
            progress.advance(0, self._note)

    def _take_point(self, waited: float) -> None:
        """Begin to read the curves."""
        now = time.monotonic()
        rates = {
            "images_per_second": (self.images_seen - self._clocked) / (now - self._clock),
            "data_wait": waited / (now - self._clock),
        }
        self._clock, self._clocked = now, self.images_seen
        self._taken = self.curves.read(), dict(self.curves.noted), rates, self.images_seen
        self.curves.clear()

    def _read_point(self) -> None:
        """Finish a point that was taken."""
        if self._taken is None:
            return
        (reading, noted, rates, seen), self._taken = self._taken, None
        values = reading.values() | noted
        self._check_finite(values, seen)
        self._note = ", ".join(f"{name} {values[name]:.3f}" for name in self.shown)
        if self.session.is_main:
            self.points.append({"images": float(seen), **values})
            rates["memory_gib"] = peak_memory(self.session.device)
            self._untold.append((values | rates, seen))

    def _check_finite(self, values: Mapping[str, float], seen: int) -> None:
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            self._hand_over()
            raise UserError(
                f"{self.name}: {', '.join(wrong)} no longer finite at {seen} images; {self.remedy}"
            )

    def _measure(self, measure: Callable[[int], Mapping[str, float]]) -> None:
        values = dict(measure(self.images_seen))
        if values and self.session.is_main:
            self.measurements.append({"images": float(self.images_seen), **values})
            self._untold.append((values, self.images_seen))
        self.session.wait()

    def _load(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        state = self.resume.load(self._parts.keys() | self._own_state().keys())
        if state is None:
            return
        for name, expected in self.same.items():
            if state["same"][name] != expected:
                raise UserError(
                    f"{self.resume.path} is of a training on other {name}; delete it to start "
                    "afresh"
                )
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self.curves.load_state_dict(state["curves"])
        self.images_seen = state["images_seen"]
        self.points, self.measurements = state["points"], state["measurements"]
        if self.session.is_main and not self.resume.told(self.images_seen):
            self._untold = state["untold"]
            self._hand_over_saved()

    def _save(self) -> None:
        """Write a checkpoint that every process agrees on and that has finite losses only."""
        self._check_finite(self.curves.read().values(), self.images_seen)
        self.session.check_replicas(**self._replicated)
        if self.session.is_main:
            parts = {name: part.state_dict() for name, part in self._parts.items()}
            self.resume.save(parts | self._own_state())
            self._hand_over_saved()
        self.session.wait()

    def _own_state(self) -> dict[str, Any]:
        return {
            "images_seen": self.images_seen,
            "curves": self.curves.state_dict(),
            "points": self.points,
            "measurements": self.measurements,
            "untold": self._untold,
            "same": self.same,
        }

    def _hand_over_saved(self) -> None:
        """Give the tracker what the last checkpoint has made certain, and note that it has it."""
        self._hand_over()
        self.resume.tell(self.images_seen)

    def _hand_over(self) -> None:
        for values, seen in self._untold:
            self.tracker.metrics(values, step=seen)
        self._untold.clear()


def rows(points: History, measurements: History) -> History:
    """One table of both: a row per number of images, in their order."""
    table: dict[float, Row] = {}
    for row in (*points, *measurements):
        table.setdefault(row["images"], {}).update(row)
    return [table[images] for images in sorted(table)]
