"""What each image is taught as: a class, a distribution over classes, or nothing known beforehand.

Real images have their person's class. What generated ones have is the arm's label policy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lookalike.config import ArmPolicy
from lookalike.errors import UserError
from lookalike.reid.label_policies import LABELS, Floats, LabelPolicy, SoftLabels

NONE = -1  # the label of an image without a class

Bools = npt.NDArray[np.bool_]


def class_names(persons: Sequence[str], generated: Bools, label: LabelPolicy) -> list[str | None]:
    """The class of each image; None for a generated one that has none."""
    each = list(zip(persons, generated, strict=True))
    real = {person for person, made in each if not made}
    return [label.class_of(person, real) if made else person for person, made in each]


class Targets:
    """What the images of a training are taught as.

    Args:
        persons: the person id of each image.
        generated: which images are generated [N].
        policy: of the arm.
        soft: for labels that a teacher gives.

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
        label = LABELS[policy.label]
        names = class_names(persons, generated, label)
        self.classes = sorted({name for name in names if name is not None})
        if len(self.classes) < 2:
            raise UserError(
                f"training needs images of at least two persons, not {len(self.classes)}"
            )
        number: dict[str | None, int] = {name: i for i, name in enumerate(self.classes)}
        self.labels = np.array([number.get(name, NONE) for name in names])
        self.generated = generated
        self._rows = label.distributions(self.classes, int(generated.sum()), soft)
        self._row = np.cumsum(generated) - 1  # which one is each generated image's

    def distributions(self, numbers: npt.NDArray[np.int64]) -> Floats | None:
        """Rows [n, classes] for images by number: none of a labelled one counts; None: no rows."""
        if self._rows is None or (self.labels[numbers] != NONE).all():
            return None
        return np.asarray(self._rows[self._row[numbers]])
