"""Training and measuring the models of a study, and the small files that keep the results.

A result is written whole under the key of all that it depends on, so a study that was stopped goes
on, and one whose parameters changed trains again what they concern. Within a training there is
resume state, too.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from lookalike.errors import UserError
from lookalike.files import write_text
from lookalike.progress import Progress, console, say
from lookalike.provenance import git_sha
from lookalike.study.trainings import SCRATCH, Rows, Training


@dataclass(frozen=True)
class Result:
    """One model, measured.

    Attributes:
        arm, amount, seed, key: whose result it is.
        added_images, added_persons: beside the real ones.
        new_persons: whether none of the added persons is a real one.
        real_persons: of the training.
        images_seen, seconds: the training's length and duration.
        commit: of the code that trained it.
        accuracy: on the training images at the end, a fraction of 1: whether it was trained out.
        validation: rank-1 and mAP on validation persons, fractions of 1.
        test: the same of the test persons, and mINP.
        persons: test person -> queries, sum of their AP, number with a match at rank 1.
    """

    arm: str
    amount: int | None
    seed: int
    key: str
    added_images: int
    added_persons: int
    new_persons: bool
    real_persons: int
    images_seen: int
    seconds: float
    commit: str
    accuracy: float
    validation: dict[str, float]
    test: dict[str, float]
    persons: dict[str, tuple[int, float, int]]

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        write_text(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path, key: str) -> Self | None:
        """What `write` wrote under this key; None where there is none, or it is damaged."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["persons"] = {name: tuple(sums) for name, sums in values["persons"].items()}
            result = cls(**values)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return result if result.key == key else None


def result_path(training: Training, folder: Path) -> Path:
    """Where the training's result is kept."""
    return folder / f"{training.name}-{training.key}.json"


def finished(trainings: Sequence[Training], folder: Path) -> list[Result]:
    """The results that are there, in the order of the trainings."""
    found = [Result.read(result_path(t, folder), t.key) for t in trainings]
    return [result for result in found if result is not None]


def run_study(trainings: Sequence[Training], folder: Path, root: Path, workers: int) -> None:
    """Train what has no result yet; each training is one process' work on one thread.

    Results do not depend on the number of processes. A training that fails is one line, and the
    others go on.

    Args:
        trainings: all of the study.
        folder: of the results.
        root: the repository root.
        workers: processes at once.

    Raises:
        UserError: trainings failed, and the results of the others are there; a process died; or
            another study is at work in this repository.
    """
    # By name, too: arms that come to the same training share a key, and each has its result.
    left = [t for t in trainings if Result.read(result_path(t, folder), t.key) is None]
    if not left:
        return
    with _alone(root):
        say(f"study: {len(left)} of {len(trainings)} trainings to do, {workers} at once")
        failed = _train(left, folder, root, workers)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(left)} trainings failed, first {failed[0]}; the same command "
            "tries them again"
        )


def _train(left: Sequence[Training], folder: Path, root: Path, workers: int) -> list[str]:
    """Train these, and return the names of those that failed."""
    failed: list[str] = []
    # Spawned: a fork would copy the threads' locks. One thread each, whatever the machine has.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(left)), context, initializer=_start_worker)
    try:
        jobs: dict[Future[Result], Training] = {
            pool.submit(train_and_measure, training, folder, root): training for training in left
        }
        with Progress("study", len(left)) as progress:
            for job in as_completed(jobs):
                name = jobs[job].name
                try:
                    result = job.result()
                    note = f"{name}: mAP {result.test['mAP']:.1%}, {result.seconds:.0f} s"
                except BrokenProcessPool as error:
                    raise UserError(
                        f"a process died while it trained {name} or another (short of memory?); "
                        f"what is finished is kept; go on with fewer than --workers {workers}"
                    ) from error
                except Exception as error:  # whatever it is, the others go on
                    failed.append(name)
                    note = f"{name} failed"
                    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
                    say(f"{name}: {kind}{' '.join(str(error).split())[:300]}")
                progress.advance(note=note)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
    return failed


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Refuse to work beside another study, which would train the same."""
    path = root / SCRATCH / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go at the end
        except BlockingIOError as error:
            raise UserError(
                f"another study is at work in {root.resolve()}; wait for it, or stop it"
            ) from error
        yield


def train_and_measure(training: Training, folder: Path, root: Path) -> Result:
    """Train one model, measure it, and keep the result.

    The weights are the last ones: nothing is chosen on the way.

    Raises:
        UserError: as `train_reid` and `evaluate`.
    """
    from lookalike.data.loading import load_images
    from lookalike.reid.embedder import Embedder
    from lookalike.reid.evaluation import Side, evaluate
    from lookalike.reid.label_policies import taught_by
    from lookalike.reid.ranking import Ranking
    from lookalike.reid.start import starting_weights
    from lookalike.reid.trainer import train_reid
    from lookalike.tracking import NullTracker
    from lookalike.training.checkpoint import ResumeState
    from lookalike.training.session import Session

    began = time.monotonic()
    reid, rows, measured = training.reid, training.rows, training.measured
    session = Session(training.seed, reid.precision)
    generated = training.generated
    images = load_images(rows, root, reid.height, reid.width)
    resume = ResumeState(root / SCRATCH / "resume", training.name, training.key)
    model, history = train_reid(
        reid,
        images,
        rows["person_id"].tolist(),
        generated=generated,
        policy=training.policy,
        soft=taught_by(training.teacher, images[generated], session.device),
        session=session,
        resume=resume,
        tracker=NullTracker(),
        initial=starting_weights(reid, root)[0],
    )
    embedder = Embedder(model, measured.batch_size, measured.flip, session.device)

    def ranking(sides: Rows) -> Ranking:
        query, gallery = (Side(s, load_images(s, root, reid.height, reid.width)) for s in sides)
        return evaluate(embedder, query, gallery).ranking

    validation, test = ranking(measured.validation), ranking(measured.test)
    queries = measured.test[0]["person_id"].to_numpy()
    real = set(rows["person_id"][~generated])
    added = set(rows["person_id"][generated])
    result = Result(
        arm=training.setting.arm,
        amount=training.setting.amount,
        seed=training.seed,
        key=training.key,
        added_images=int(generated.sum()),
        added_persons=len(added),
        new_persons=not added & real,
        real_persons=len(real),
        images_seen=training.images,
        seconds=round(time.monotonic() - began, 1),
        commit=git_sha(root),
        accuracy=round(history[-1]["accuracy"], 4),
        validation={name: validation.summary()[name] for name in ("rank_1", "mAP")},
        test={name: test.summary()[name] for name in ("rank_1", "mAP", "mINP")},
        persons={
            str(person): (
                int((mine := (queries == person) & test.valid).sum()),
                round(float(test.ap[mine].sum()), 6),
                int((test.first_match_rank[mine] == 1).sum()),
            )
            for person in np.unique(queries)
        },
    )
    result.write(result_path(training, folder))
    resume.discard()
    return result


def _start_worker() -> None:
    """One thread, silence, and no life after the process that started this one."""
    import torch

    torch.set_num_threads(1)
    console.quiet = True
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
