"""Training of the re-ID network by a recipe: losses, sampling, schedule and head are parameters.

Everything counts in images seen, so that the schedule does not depend on the number of processes,
and each micro-batch's randomness depends on nothing else, so that a killed run continues exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lookalike.config import ArmPolicy, ReidConfig
from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.progress import say
from lookalike.reid.batches import Batches
from lookalike.reid.label_policies import SoftLabels
from lookalike.reid.model import ReidNet, load_imagenet, new_reid
from lookalike.reid.ranking import CRITERION
from lookalike.reid.step import ReidTraining
from lookalike.reid.targets import Targets
from lookalike.seeds import derive_seed
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.loop import History, Loop, rows
from lookalike.training.session import Session, steps_for

POINTS = 60  # of each curve

Validate = Callable[[ReidNet], dict[str, float]]


def train_reid(
    config: ReidConfig,
    images: Images,
    persons: Sequence[str],
    *,
    generated: npt.NDArray[np.bool_] | None = None,
    policy: ArmPolicy | None = None,
    soft: SoftLabels | None = None,
    session: Session,
    resume: ResumeState,
    tracker: Tracker,
    initial: Mapping[str, Tensor] | None = None,
    validate: Validate | None = None,
) -> tuple[ReidNet, History]:
    """Train for `config.epochs` passes over the images; a killed run goes on as it was.

    With `policy.batch_share` a pass is one over the real images, whatever stands beside them.

    Batch statistics and metric losses see one micro-batch. The running statistics move once per
    batch, by the mean over its micro-batches; their mean over the processes is taken before each
    validation and checkpoint and at the end, which comes to the same.

    Args:
        config: the re-ID section of the parameters.
        images: uint8 [N, height, width, 3], real and generated ones alike; may be memory-mapped.
        persons: the person id of each image; the sorted ids are the classes, unless the policy
            has others (`targets.class_names`).
        generated: which images are generated [N]; None: none is.
        policy: how those take part; None: like real ones.
        soft: for a policy whose labels a teacher gives.
        session: process, device and seed.
        resume: where the state is kept; the caller discards it after writing the model.
        tracker: gets `loss` and its terms, `accuracy`, `gradient_norm`, `learning_rate`, and what
            `validate` returns as `validation_...`; see `training.loop`.
        initial: torchvision's ResNet50 state dict, or None to start from scratch.
        validate: called on the main process with the network in evaluation mode; among others it
            returns `mAP`. None: no validation, and the last weights are kept.

    Returns:
        The network in evaluation mode with the weights of the best validation (of the last among
        equals), the same on every process; and on the main process the history. Its rows say what
        the tracker got, without what depends on the machine: `images` seen, `loss` and its terms,
        `accuracy`, `gradient_norm`, `learning_rate`, and `validation_...` in the rows of a
        validation. It is part of the resume state: a killed run returns that of an uninterrupted
        one.

    Raises:
        ValueError: images and persons do not fit together or have another size than `config`'s.
        UserError: too few persons; batches do not divide; the policy does not go with the recipe
            or the images; the loss is no longer finite; the resume state is of other persons.
    """
    if images.shape != (len(persons), config.height, config.width, 3):
        raise ValueError(
            f"images {images.shape} must be ({len(persons)} persons' labels, "
            f"{config.height}, {config.width}, 3)"
        )
    policy = policy or ArmPolicy()
    try:
        policy.check(config)
    except ValueError as error:
        raise UserError(f"arm: {error}") from error
    if generated is None:
        generated = np.zeros(len(persons), dtype=bool)
    targets = Targets(persons, generated, policy, soft)
    seed = derive_seed(session.seed, "reid")
    batches = Batches(config, images, targets, policy, seed=seed, device=session.device)

    torch.manual_seed(seed)
    model = new_reid(config, len(targets.classes))
    if initial is not None:
        report = load_imagenet(model, initial)
        if session.is_main:
            say(report)
    model.to(session.device)
    session.broadcast(model)

    steps = steps_for(config.epochs * batches.epoch, batches.size)
    loop = Loop(
        "train re-ID",
        images=config.epochs * batches.epoch,
        batch_size=batches.size,
        session=session,
        resume=resume,
        tracker=tracker,
        point_steps=math.ceil(steps / POINTS),
        checkpoint_images=config.checkpoint_images,
        shown=("loss", "accuracy"),
        remedy="lower reid.learning_rate (with reid.precision fp16, try bf16 or fp32)",
        same={"persons": targets.classes},
    )
    training = ReidTraining(config, model, batches, session=session, curves=loop.curves)
    best = Best()
    loop.register(training.parts())
    loop.register({"best": best}, replicated=False)  # only the main process validates

    def measure(images_seen: int) -> dict[str, float]:
        if validate is None or not session.is_main:
            return {}
        scores = validate(model.eval())
        best.consider(scores[CRITERION], images_seen, model)
        return {f"validation_{name}": float(value) for name, value in scores.items()}

    between = math.ceil(steps / validations(config.epochs)) * batches.size
    loop.run(
        training.step,
        training.read,
        measure=measure if validate else None,
        due=lambda seen: seen > 0 and seen % between == 0,
        settle=lambda: session.average_buffers(model),
    )
    if best.weights and session.is_main:
        say(f"kept the weights at {best.images_seen} images: {CRITERION} {best.score:.4f}")
        model.load_state_dict(best.weights)
    session.broadcast(model)
    return model.eval(), rows(loop.points, loop.measurements)


class Best:
    """The weights that did best on validation persons.

    Attributes:
        weights: their state dict, on the CPU; None before the first validation.
        score, images_seen: how good they were, and when.
    """

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] | None = None
        self.score, self.images_seen = math.nan, 0

    def consider(self, score: float, images_seen: int, model: ReidNet) -> None:
        """Keep the model's weights unless what is kept was better."""
        if self.weights is None or not score < self.score:
            self.score, self.images_seen = score, images_seen
            state = model.state_dict()
            self.weights = {k: t.detach().to("cpu", copy=True) for k, t in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        vars(self).update(state)


def validations(epochs: int) -> int:
    """How often validation persons are measured: four times, in long trainings every ten epochs.

    Evenly spread, the last time at the end.
    """
    return max(4, epochs // 10)
