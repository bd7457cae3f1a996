"""What generated images can be taught as, an object for each label that an arm may name.

To add one, add its object to `LABELS` and its name to the type of `ArmPolicy.label`.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lookalike.data.loading import Images, resize_batch, to_tensor
from lookalike.errors import UserError
from lookalike.reid.model import ReidNet, exact_float32, load_reid, read_classes

OWN = "generated"  # before the person of a class of a real person's variations alone

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SoftLabels:
    """What a model takes generated images for."""

    classes: list[str]
    """The persons that it knows."""
    probabilities: Floats
    """float32 [G, len(classes)] of the G generated images, in their order; rows sum to 1."""


@dataclass(frozen=True)
class LabelPolicy:
    """What generated images are taught as: a class, a distribution over classes, or neither."""

    card: str
    """How the model card says it of images of a real person, after their name."""
    class_of: Callable[[str, Set[str]], str | None] = lambda person, real: None
    """The class of an image of this person, given the persons of real images; None: none."""
    distributions: Callable[[list[str], int, SoftLabels | None], Floats | None] = (
        lambda classes, count, soft: None
    )
    """Rows [count, classes] for as many generated images; None: nothing is known beforehand."""
    another_view: bool = False
    """Whether the target is what the model takes another view of the image for."""


def _own(person: str, real: Set[str]) -> str:
    return f"{OWN}/{person}" if person in real else person


def _uniform(classes: list[str], count: int, soft: SoftLabels | None) -> Floats:
    row = np.full(len(classes), 1 / len(classes), dtype=np.float32)
    return np.broadcast_to(row, (count, len(classes)))


def _soft(classes: list[str], count: int, soft: SoftLabels | None) -> Floats:
    """Persons of whom the model knows nothing have probability 0."""
    if soft is None or len(soft.probabilities) != count:
        raise ValueError("label: soft needs a distribution for each generated image")
    strangers = sorted(set(soft.classes) - set(classes))
    if strangers:
        raise UserError(
            f"soft labels name {len(strangers)} persons who are not trained on, such as "
            f"{strangers[0]}; they must come from a model of the same real images"
        )
    rows = np.zeros((count, len(classes)), dtype=np.float32)
    rows[:, np.searchsorted(classes, soft.classes)] = soft.probabilities
    return rows


LABELS = {
    "person": LabelPolicy("labelled as their source", lambda person, real: person),
    "own": LabelPolicy("each source's a class beside it", _own),
    "uniform": LabelPolicy("labelled as all real persons alike", distributions=_uniform),
    "soft": LabelPolicy("labelled as the baseline took them", distributions=_soft),
    "consistency": LabelPolicy("without labels", another_view=True),
}


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
        images: uint8 [G, H, W, 3] of any size.
        batch_size: images at once.
        device: where to compute.
    """
    model = model.to(device).eval()
    crops = resize_batch(images, model.height, model.width)
    rows = np.empty((len(crops), len(classes)), dtype=np.float32)
    with exact_float32(torch.device(device)):
        for start in range(0, len(crops), batch_size):
            x = to_tensor(crops[start : start + batch_size], device)
            rows[start : start + len(x)] = model(x).softmax(dim=1).cpu().numpy()
    return SoftLabels(classes, rows)


def taught_by(
    file: Path | None, images: Images, device: torch.device | str = "cpu"
) -> SoftLabels | None:
    """What the model in a file takes images [G, H, W, 3] for; None if there is no such teacher."""
    if file is None:
        return None
    return soft_labels(load_reid(file), read_classes(file), images, device=device)
