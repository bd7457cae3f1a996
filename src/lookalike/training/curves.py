"""Points of training curves: means since the last point, gathered without waiting for the device.

Each number that a step measures is a scalar on the device. Reading one would make the host wait for
all work that it has ordered, and then the device for the host. So sums stay on the device, and what
is read at a point is copied while the next step runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import get_total_norm

from lookalike.training.session import Session


class Curves:
    """Sums over the steps since the last point, and how many numbers went into each.

    Attributes:
        noted: what the host knows by itself, say the learning rate; the last step's counts.
    """

    def __init__(self, session: Session):
        self.session = session
        self.noted: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}  # each [sum, count]

    def add(self, **values: Tensor) -> None:
        """Count in scalars that a step or a micro-batch has measured."""
        for name, value in values.items():
            number = value.detach().float()
            self._add(name, torch.stack([number, torch.ones_like(number)]))

    def add_gradient_norm(
        self,
        parameters: Iterable[nn.Parameter],
        name: str = "gradient_norm",
        scaler: GradScaler | None = None,
    ) -> None:
        """Count in the norm of all averaged gradients together, without the factor of `scaler`.

        Where fp16 overflowed, the step is skipped and has no norm.
        """
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return
        norm = get_total_norm(gradients).float()
        if scaler is not None and scaler.is_enabled():
            norm = norm / scaler.scale(torch.ones_like(norm))
        finite = norm.isfinite()
        self._add(name, torch.stack([norm.where(finite, 0.0), finite.float()]))

    def _add(self, name: str, pair: Tensor) -> None:
        self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def share(self) -> None:
        """Replace the sums by their means over all processes; every process must come here."""
        if self._sums:
            pairs = self.session.mean({"sums": torch.stack(list(self._sums.values()))})["sums"]
            self._sums = dict(zip(self._sums, pairs, strict=True))

    def read(self) -> Reading:
        """The means over all steps and processes since the last point, on their way to the host."""
        self.share()
        return Reading(self._sums)

    def clear(self) -> None:
        """Begin a new point."""
        self._sums = {}

    def state_dict(self) -> dict[str, Tensor]:
        """The sums since the last point."""
        return dict(self._sums)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there."""
        self._sums = {name: pair.to(self.session.device) for name, pair in state.items()}


class Reading:
    """Means that are being copied from the device."""

    def __init__(self, sums: Mapping[str, Tensor]):
        self._names, self._copied = list(sums), None
        if not sums:
            return
        pairs = torch.stack(list(sums.values()))
        # Into pinned memory, which is why the copy need not be waited for here.
        self._pairs = pairs.to("cpu", non_blocking=pairs.is_cuda)
        if pairs.is_cuda:
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def values(self) -> dict[str, float]:
        """The means by name, without those of which there was no number; waits for the copy."""
        if not self._names:
            return {}
        if self._copied is not None:
            self._copied.synchronize()
        means = (self._pairs[:, 0] / self._pairs[:, 1]).tolist()
        counted = (self._pairs[:, 1] > 0).tolist()
        return {n: m for n, m, c in zip(self._names, means, counted, strict=True) if c}
