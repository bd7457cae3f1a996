"""Which images make up a batch: a pure function of the images seen so far."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lookalike.errors import UserError
from lookalike.seeds import derive_seed


class ShuffledSampler:
    """Endless shuffled passes over `size` images; position `i` is always the same image.

    Stateless, as in EDM2 (Karras et al. 2024): a resumed run and any number of processes read
    exactly what one uninterrupted process would have read.
    """

    def __init__(self, size: int, seed: int):
        assert size > 0
        self.size, self.seed = size, seed
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng(derive_seed(self.seed, "epoch", epoch)).permutation(self.size)

    def indices(self, start: int, count: int) -> npt.NDArray[np.int64]:
        """The images at positions start..start+count of the endless sequence."""
        positions = np.arange(start, start + count)
        epochs = positions // self.size
        parts = [self._epoch(int(e))[positions[epochs == e] % self.size] for e in np.unique(epochs)]
        return np.concatenate(parts)


class PKSampler:
    """Endless batches of `persons` x `images`, all persons of a batch different (Hermans 2017).

    The images of a person lie side by side, so that a micro-batch which is a multiple of `images`
    holds whole persons, on whichever process. Like ShuffledSampler, position `i` is always the
    same image. A pass over the persons leaves out those that do not fill a last batch, and a pass
    over a person's images likewise; a person with fewer than `images` images repeats them.

    Args:
        labels: the person of each image, any integers.
        persons: P, in a batch.
        images: K, of each person in a batch.
        seed: of the shuffles.

    Raises:
        UserError: fewer than P persons.
    """

    def __init__(self, labels: npt.NDArray[np.int64], persons: int, images: int, seed: int):
        order = np.argsort(labels, kind="stable")
        names, starts = np.unique(labels[order], return_index=True)
        if len(names) < persons:
            raise UserError(
                f"a batch of {persons} persons x {images} images needs as many persons to choose "
                f"from, and there are {len(names)}; lower reid.batch_size, or the arm's batch_share"
            )
        self.members = np.split(order, starts[1:])  # the images of each person
        self.persons, self.images, self.seed = persons, images, seed

    def indices(self, start: int, count: int) -> npt.NDArray[np.int64]:
        """The images at positions start..start+count of the endless sequence."""
        size = self.persons * self.images
        first = start // size
        batches = [self._batch(n) for n in range(first, (start + count - 1) // size + 1)]
        return np.concatenate(batches)[start - first * size :][:count]

    def _batch(self, number: int) -> npt.NDArray[np.int64]:
        everyone = np.arange(len(self.members))
        chosen = _group(everyone, self.persons, number, derive_seed(self.seed, "persons"))
        turn = number // (len(self.members) // self.persons)  # a person comes once in each pass
        return np.concatenate(
            [
                _group(self.members[p], self.images, turn, derive_seed(self.seed, "images", p))
                for p in chosen.tolist()
            ]
        )


def _group(
    members: npt.NDArray[np.int64], size: int, number: int, seed: int
) -> npt.NDArray[np.int64]:
    """Group `number` of endless shuffled passes over `members`, each cut into whole groups."""
    groups = max(1, len(members) // size)
    shuffle = np.random.default_rng(derive_seed(seed, number // groups))
    first = number % groups * size
    return np.resize(shuffle.permutation(members)[first:], size)
