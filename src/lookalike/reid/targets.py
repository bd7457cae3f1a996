"""What each image is taught as: a class, a distribution over classes, or nothing known beforehand.

Real images have their person's class. What generated ones have is the arm's label policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lookalike.config import ArmPolicy
from lookalike.data.loading import Images, to_tensor
from lookalike.errors import UserError
from lookalike.reid.model import ReidNet, exact_float32

NONE = -1  # the label of an image without a class
OWN = "generated"  # before the person of a class of a real person's variations alone

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SoftLabels:
    """What a model takes generated images for."""

    classes: list[str]
    """The persons that it knows."""
    probabilities: Floats
    """float32 [G, len(classes)] of the G generated images, in their order; rows sum to 1."""


@torch.inference_mode()
def soft_labels(
    model: ReidNet,
    classes: list[str],
    images: Images,
    *,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
) -> SoftLabels:
    """What `model` takes images for, without augmentation.

    Args:
        model: a network in evaluation mode.
        classes: the persons of its outputs.
        images: uint8 [G, H, W, 3] of the model's size.
        batch_size: images at once.
        device: where to compute.
    """
    model = model.to(device).eval()
    rows = np.empty((len(images), len(classes)), dtype=np.float32)
    with exact_float32(torch.device(device)):
        for start in range(0, len(images), batch_size):
            x = to_tensor(images[start : start + batch_size], device)
            rows[start : start + len(x)] = model(x).softmax(dim=1).cpu().numpy()
    return SoftLabels(classes, rows)


def class_names(persons: Sequence[str], generated: Bools, policy: ArmPolicy) -> list[str | None]:
    """The class of each image; None for a generated one that has none."""
    real = {person for person, made in zip(persons, generated, strict=True) if not made}

    def of(person: str, made: bool) -> str | None:
        if not made or policy.label == "person":
            return person
        if policy.label == "own":
            return f"{OWN}/{person}" if person in real else person
        return None

    return [of(person, bool(made)) for person, made in zip(persons, generated, strict=True)]


class Targets:
    """What the images of a training are taught as.

    Args:
        persons: the person id of each image.
        generated: which images are generated [N].
        policy: of the arm.
        soft: for the label `soft`.

    Attributes:
        classes: names, sorted, in the order of the network's outputs.
        labels: int64 [N], numbers of classes; NONE for images without one.
        generated: as given.

    Raises:
        UserError: fewer than two classes; soft labels of persons of which there is no class.
        ValueError: no soft labels, or not one for each generated image.
    """

    def __init__(
        self,
        persons: Sequence[str],
        generated: Bools,
        policy: ArmPolicy,
        soft: SoftLabels | None = None,
    ):
        names = class_names(persons, generated, policy)
        self.classes = sorted({name for name in names if name is not None})
        if len(self.classes) < 2:
            raise UserError(
                f"training needs images of at least two persons, not {len(self.classes)}"
            )
        number: dict[str | None, int] = {name: i for i, name in enumerate(self.classes)}
        self.labels = np.array([number.get(name, NONE) for name in names])
        self.generated = generated
        self._rows: Floats | None = None  # of distributions, and which one is each image's
        self._row = np.zeros(len(generated), dtype=np.int64)
        if policy.label == "uniform":
            self._rows = np.full((1, len(self.classes)), 1 / len(self.classes), dtype=np.float32)
        elif policy.label == "soft":
            self._rows = self._of(soft)
            self._row = np.cumsum(generated) - 1

    def _of(self, soft: SoftLabels | None) -> Floats:
        """Soft labels over the classes here; persons that the model does not know have none."""
        if soft is None or len(soft.probabilities) != self.generated.sum():
            raise ValueError("label: soft needs a distribution for each generated image")
        strangers = sorted(set(soft.classes) - set(self.classes))
        if strangers:
            raise UserError(
                f"soft labels name {len(strangers)} persons who are not trained on, such as "
                f"{strangers[0]}; they must come from a model of the same real images"
            )
        rows = np.zeros((len(soft.probabilities), len(self.classes)), dtype=np.float32)
        rows[:, np.searchsorted(self.classes, soft.classes)] = soft.probabilities
        return rows

    def distributions(self, numbers: npt.NDArray[np.int64]) -> Floats | None:
        """Rows [n, classes] for images by number: none of a labelled one counts; None: no rows."""
        if self._rows is None or (self.labels[numbers] != NONE).all():
            return None
        return self._rows[self._row[numbers]]
