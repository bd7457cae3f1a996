"""Measuring generated images against a fixed set of real ones, on all processes.

The real side is always the full set. Its features and what is computed from them are kept in a
cache under the digest of the images and of the feature extractor (which includes its resize), so
that a second training, or a resumed one, starts at once. The cache holds safetensors only and can
be deleted at any time.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from accelerate.utils import gather

from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.metrics.distances import FrechetReference, Matrix, kernel_distance
from lookalike.metrics.features import FeatureExtractor, FloatMatrix
from lookalike.metrics.manifold import precision_and_recall, radii
from lookalike.progress import say
from lookalike.training.model_file import load_weights, save_weights
from lookalike.training.session import Session

FORMAT = 1  # of what is kept; raise it when it is computed differently
PROBES, TOLERANCE = 8, 1e-2  # images; of a feature vector's length: devices differ by rounding


class Comparison:
    """Distances from generated images to `real`.

    Every process makes one and calls it, at the same time; the main one computes the distances.

    Args:
        real: uint8 [N, H, W, 3], the same in every process.
        extract: the feature space.
        session: this process.
        cache: folder of the real side's statistics.

    Raises:
        UserError: fewer than four real images, or their features are not finite.
    """

    def __init__(self, real: Images, extract: FeatureExtractor, session: Session, cache: Path):
        self.extract, self.session = extract, session
        self._said: set[str] = set()
        key = _digest(real, extract)
        path = cache / f"{extract.name}-{key[:16]}.safetensors"
        self._real = RealSide.load(path, key) if session.is_main else None
        if self._real is not None and not self._reproduces(self._real.features, real):
            say(f"{path} was made by another version of the feature extractor; made anew")
            self._real = None
        # All or none: a process that waited alone for the others' features would hang.
        missing = torch.tensor(float(session.is_main and self._real is None), device=session.device)
        if session.mean({"missing": missing})["missing"] == 0:
            return
        features = self._features(real[share(len(real), session)], len(real))
        if session.is_main:
            try:
                self._real = RealSide.of(features)
            except ValueError as error:
                raise UserError(f"{extract.name}: the real images: {error}") from error
            self._real.save(path, key)

    def __call__(self, fakes: Images, count: int) -> dict[str, float]:
        """Measure `count` generated images.

        Args:
            fakes: uint8 [M, H, W, 3], this process' share of them.
            count: how many all processes have together, four at least.

        Returns:
            `precision`, `recall`, and the kernel and the Fréchet distance under the names of their
            features; on the main process, nothing on the others.

        Raises:
            UserError: the features are not finite; says what to do.
        """
        features = self._features(fakes, count)
        if self._real is None:
            return {}
        name, real = self.extract.name, self._real
        if not np.isfinite(features).all():
            raise UserError(
                f"{name}: the generated images' features hold NaN or infinity: the generator has "
                "collapsed; lower gan.generator_lr and gan.discriminator_lr"
            )
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always", UserWarning)
            frechet = real.frechet.distance(features)
            kernel = kernel_distance(real.features, features)
            precision, recall = precision_and_recall(real.features, features, real.radii)
        for text in (str(doubt.message) for doubt in doubts):
            if text not in self._said:  # once, not at every measurement
                say(f"features of {name}: {text}")
                self._said.add(text)
        return {
            "precision": precision,
            "recall": recall,
            self.extract.kernel_name: kernel,
            name: frechet,  # last: `dvc plots` draws the last column where none is named
        }

    def _reproduces(self, features: FloatMatrix, images: Images) -> bool:
        """Whether the first images still have these features: the key does not cover code."""
        expected = features[:PROBES]
        error = np.linalg.norm(self.extract(images[:PROBES]) - expected, axis=1)
        return bool((error <= TOLERANCE * np.linalg.norm(expected, axis=1)).all())

    def _features(self, mine: Images, count: int) -> FloatMatrix:
        """The features of all processes' images in order, float32 [count, D], on each of them."""
        features = self.extract(mine) if len(mine) else np.empty((0, self.extract.dim), np.float32)
        if self.session.world == 1:
            return features
        # Gathering wants equal shapes: the last shares are filled up, and cut off again below.
        padded = np.zeros((_each(count, self.session), self.extract.dim), np.float32)
        padded[: len(features)] = features
        everyone = gather(torch.from_numpy(padded).to(self.session.device))
        gathered: FloatMatrix = everyone[:count].cpu().numpy()
        return gathered


@dataclass(frozen=True)
class RealSide:
    """What is computed once from the real images' features.

    Attributes:
        features: [N, D], for the kernel distance.
        frechet: their Gaussian.
        radii: of their manifold, [N].
    """

    features: FloatMatrix
    frechet: FrechetReference
    radii: Matrix

    @classmethod
    def of(cls, features: FloatMatrix) -> Self:
        """From float32 [N, D].

        Raises:
            ValueError: N < 4, or values that are not finite.
        """
        return cls(features, FrechetReference.of(features), radii(features))

    def save(self, path: Path, key: str) -> None:
        """Write it under the digest of what it was computed from."""
        arrays = {
            "features": self.features,
            "mean": self.frechet.mean,
            "factor": self.frechet.factor,
            "radii": self.radii,
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        save_weights(path, tensors, {"key": key})

    @classmethod
    def load(cls, path: Path, key: str) -> Self | None:
        """What `save` wrote; None where there is none, or it is damaged or of something else."""
        if not path.is_file():
            return None
        try:
            tensors, metadata = load_weights(path)
            if metadata["key"] != key:
                return None
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            features = arrays["features"]
            frechet = FrechetReference(arrays["mean"], arrays["factor"], len(features))
            return cls(features, frechet, arrays["radii"])
        except (UserError, KeyError) as error:
            say(f"{path} is damaged and will be made anew ({error})")
            return None


def share(count: int, session: Session) -> slice:
    """Which of `count` images are this process'; equally many each, but for the last ones."""
    each = _each(count, session)
    return slice(min(session.rank * each, count), min((session.rank + 1) * each, count))


def _each(count: int, session: Session) -> int:
    return -(-count // session.world)


def _digest(images: Images, extract: FeatureExtractor) -> str:
    digest = hashlib.sha256(f"{FORMAT} {extract.name} {extract.digest} {images.shape}".encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()
