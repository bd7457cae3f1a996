"""Distances between two sets of feature vectors: Fréchet and kernel (MMD).

A distance is called after its features: `fid` and `kid` on Inception's (Heusel et al. 2017;
Bińkowski et al. 2018), `frechet_reid` and `kernel_reid` on re-ID embeddings. The Fréchet distance
is biased in the number of samples: compare values that were measured with the same counts. The
kernel distance is unbiased.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]
COLLAPSED = 1e-3  # of the real features' variance


@dataclass(frozen=True)
class FrechetReference:
    """The Gaussian of the real features, computed once for many measurements.

    Attributes:
        mean: [D].
        factor: [D, R], R <= D; the covariance is factor @ factor.T.
        count: how many samples they come from.
    """

    mean: Matrix
    factor: Matrix
    count: int

    @classmethod
    def of(cls, real: Features) -> Self:
        """From float [N, D], N >= 2.

        Raises:
            ValueError: fewer than two rows, or values that are not finite.
        """
        real = checked(real, "real")
        mean, covariance = _moments(real)
        values, vectors = np.linalg.eigh(covariance)
        # N samples vary in N - 1 directions at most; what else there is, is rounding.
        rank = min(len(values), len(real) - 1)
        return cls(mean, vectors[:, -rank:] * np.sqrt(values[-rank:].clip(min=0)), len(real))

    def distance(self, fake: Features) -> float:
        """|m_r - m_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^(1/2)) for float [M, D], never below 0.

        Where the value is defined but means little, this warns and says why: fewer samples than
        dimensions (the covariances are singular and the bias grows), or generated features that
        hardly vary (the generator has collapsed). Other implementations return NaN there.

        Raises:
            ValueError: another D, fewer than two rows, or values that are not finite.
        """
        fake, dim = checked(fake, "fake"), len(self.mean)
        if fake.shape[1] != dim:
            raise ValueError(f"fake features have {fake.shape[1]} dimensions, real {dim}")
        mean, covariance = _moments(fake)
        real_trace, fake_trace = float((self.factor**2).sum()), float(np.trace(covariance))
        fewest = min(self.count, len(fake))
        if fewest <= dim:
            warnings.warn(
                f"{fewest} samples in {dim} dimensions leave the covariance rank-deficient: "
                "compare the Fréchet distance only with values from the same number of samples",
                stacklevel=2,
            )
        if fake_trace < COLLAPSED * real_trace:
            warnings.warn(
                "the generated images hardly differ from each other (their features have "
                f"{fake_trace / real_trace:.2g} of the real variance): the generator has collapsed",
                stacklevel=2,
            )
        shift = self.mean - mean
        root_trace = self.root_trace(covariance, len(fake) - 1)
        distance = shift @ shift + real_trace + fake_trace - 2 * root_trace
        return max(float(distance), 0.0)

    def root_trace(self, covariance: Matrix, rank: int) -> float:
        """tr (C_r C_f)^(1/2) for the covariance C_f, [D, D], of at most this rank.

        With C_r = F F', the product's non-zero eigenvalues are those of F' C_f F, which is
        symmetric; the trace is the sum of their roots. Exact, and about ten times as fast as a
        general matrix square root at D = 2048 (`benchmarks/frechet.py`). The product C_r C_f
        itself is not symmetric, and a symmetric solver applied to it is wrong.
        """
        eigenvalues = np.linalg.eigvalsh(self.factor.T @ covariance @ self.factor)
        # Beyond the rank an eigenvalue is 0 but for rounding, which the root would magnify.
        return float(np.sqrt(eigenvalues[-rank:].clip(min=0)).sum())


def frechet_distance(real: Features, fake: Features) -> float:
    """Fréchet distance between float [N, D] and [M, D]; see FrechetReference."""
    return FrechetReference.of(real).distance(fake)


def kernel_distance(
    real: Features,
    fake: Features,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> float:
    """Unbiased squared MMD with the kernel (x.y / D + 1)^3, as KID (Bińkowski et al. 2018, eq. 4).

    The mean over random subsets of `subset_size` rows of either side, drawn without replacement;
    of all rows where there are fewer, and a warning says so. Its expectation is 0 for equal
    distributions, so it may be slightly negative.

    Raises:
        ValueError: different D, fewer than two rows, or values that are not finite.
    """
    real, fake = checked(real, "real"), checked(fake, "fake")
    dim = real.shape[1]
    if fake.shape[1] != dim:
        raise ValueError(f"fake features have {fake.shape[1]} dimensions, real {dim}")
    size = min(subset_size, len(real), len(fake))
    if size < subset_size:
        warnings.warn(
            f"the kernel distance takes subsets of {size} samples, not {subset_size}: there are "
            f"{len(real)} real and {len(fake)} generated",
            stacklevel=2,
        )

    def kernel(a: Matrix, b: Matrix) -> Matrix:
        cubed: Matrix = (a @ b.T / dim + 1) ** 3
        return cubed

    def within(x: Matrix) -> float:
        """The mean over pairs; without the diagonal, a sample's likeness to itself, unbiased."""
        likeness = kernel(x, x)
        return float(likeness.sum() - np.trace(likeness)) / (size * (size - 1))

    rng, values = np.random.default_rng(seed), []
    for _ in range(1 if size == len(real) == len(fake) else subsets):
        x = real[rng.choice(len(real), size, replace=False)]
        y = fake[rng.choice(len(fake), size, replace=False)]
        values.append(within(x) + within(y) - 2 * kernel(x, y).mean())
    return float(np.mean(values))


def checked(features: Features, side: str) -> Matrix:
    """The features in double precision.

    Raises:
        ValueError: not [N, D] with N >= 2, or values that are not finite; names the side.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"{side} features must be [N, D] with N >= 2, not {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError(
            f"{side} features hold NaN or infinity: the network that made them, or the images, "
            "have collapsed"
        )
    return features.astype(np.float64)


def _moments(features: Matrix) -> tuple[Matrix, Matrix]:
    mean = features.mean(axis=0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)
