"""One process of a training run, on top of Accelerate.

A global batch is cut into micro-batches of a fixed size. What is random depends only on the seed
and the images seen. Re-ID and encoder draw for each micro-batch, by its number too; the GAN draws
for the global batch, and each micro-batch takes its part. Gradients and batch statistics are
averaged over all micro-batches. So the result does not depend on how many processes share them:
one process accumulates what eight would compute at once, and a resumed run continues exactly,
without saving any random state. See docs/decisions/0009-micro-batches.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast, gather_object, reduce
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from lookalike.errors import UserError
from lookalike.seeds import derive_seed

Precision = Literal["fp32", "bf16", "fp16"]


class Stateful(Protocol):
    """A network, an optimiser, a scaler: whatever has a state to save."""

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors, numbers and strings, in dicts and lists."""

    def load_state_dict(self, state: Any, /) -> object:
        """Go on from such a state, on the CPU."""


class Session:
    """Device, process group and seeds of one process.

    Started alone it is the only process; under `accelerate launch` or `torchrun` it is one of many.

    Attributes:
        device: where this process computes.
        rank, world: this process' number and how many there are.
        is_main: whether this process writes files, metrics and progress.
    """

    def __init__(self, seed: int, precision: Precision = "fp32"):
        """Join the process group.

        Raises:
            UserError: fp16 on the CPU, where Accelerate would ignore it.
        """
        if precision == "fp16" and PartialState().device.type == "cpu":
            raise UserError(
                "precision: fp16 needs a GPU, and there is none; set the precision that this "
                "stage reads from params.yaml to bf16 or fp32"
            )
        self.accelerator = Accelerator(mixed_precision="no" if precision == "fp32" else precision)
        self.precision = precision
        self.seed = seed
        device: torch.device = self.accelerator.device
        # With several processes Accelerate says "cpu:0", which torch.load cannot map to.
        self.device = torch.device("cpu") if device.type == "cpu" else device
        self.rank: int = self.accelerator.process_index
        self.world: int = self.accelerator.num_processes
        self.is_main: bool = self.accelerator.is_main_process

    def shard(self, batch_size: int, micro_batch: int) -> range:
        """The numbers of the micro-batches of each global batch that fall to this process.

        Every process gets equally many, and each is a number in one global sequence: the data are
        never split into shards, which could be of unequal length and leave a process waiting.

        Raises:
            UserError: the batch does not divide evenly.
        """
        count, rest = divmod(batch_size, micro_batch)
        if rest or count % self.world:
            each, odd = divmod(batch_size, self.world)
            smaller = "" if odd else f"micro_batch to {each} or a divisor of it, or "
            whole = micro_batch * self.world
            raise UserError(
                f"batch_size {batch_size} must be a multiple of micro_batch {micro_batch} "
                f"times the number of processes ({self.world}); set {smaller}"
                f"batch_size to {-(-batch_size // whole) * whole}"
            )
        each = count // self.world
        return range(self.rank * each, (self.rank + 1) * each)

    def seed_step(self, images_seen: int, micro_batch: int, phase: str = "") -> None:
        """Seed torch on every device for one phase of one micro-batch.

        Who draws for a whole batch and takes each micro-batch's part does so as micro-batch 0.
        """
        torch.manual_seed(derive_seed(self.seed, images_seen, micro_batch, phase))

    def autocast(self) -> AbstractContextManager[object]:
        """The mixed-precision context that `precision` asked for."""
        return self.accelerator.autocast()  # type: ignore[no-any-return]

    def loss_scaler(self) -> GradScaler:
        """Keeps small gradients above fp16's smallest number; does nothing in other precisions.

        It multiplies the loss, and its `step` divides the gradients again. Where they overflowed
        it skips the step and halves the factor. It looks at the averaged gradients, which every
        process has alike: all of them skip, or none.
        """
        return GradScaler(self.device.type, enabled=self.precision == "fp16")

    def average_gradients(
        self, parameters: Iterable[nn.Parameter], micro_batches: int, *, scaled: bool = False
    ) -> None:
        """Turn gradients summed over this process' micro-batches into the global mean.

        One flat all-reduce (as StyleGAN3 does) instead of DDP's hooks, which break on R1's double
        backward and on networks that take turns. NaN becomes 0 and infinity 1e5, so that one bad
        step cannot destroy a run; but not with `scaled`, where `loss_scaler` is to see them.
        """
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return
        if self.world > 1:
            flat = reduce(torch.cat([g.reshape(-1) for g in gradients]), "sum")
            offset = 0
            for gradient in gradients:
                gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
                offset += gradient.numel()
        if micro_batches * self.world > 1:
            torch._foreach_div_(gradients, float(micro_batches * self.world))
        if not scaled:
            for gradient in gradients:
                torch.nan_to_num_(gradient, 0.0, 1e5, -1e5)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Average equally named tensors over all processes."""
        if self.world == 1:
            return dict(values)
        return {key: reduce(value.contiguous(), "mean") for key, value in sorted(values.items())}

    def average_buffers(self, module: nn.Module) -> None:
        """Average floating-point buffers (batch-norm statistics) over all processes."""
        if self.world > 1:
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(reduce(buffer.clone(), "mean"))

    def broadcast(self, module: nn.Module) -> None:
        """Give every process the main process' parameters and buffers."""
        if self.world > 1:
            for tensor in module.state_dict().values():
                tensor.copy_(broadcast(tensor.clone()))

    def check_replicas(self, **parts: Stateful) -> None:
        """Verify that all processes hold the same bits: networks, optimisers, what else moves.

        Trainers call it before they save the state at a checkpoint, so a state that was saved is
        one that all processes agreed on. Every process raises the same error, and none waits for
        another afterwards.

        Raises:
            UserError: they do not; names the parts that differ.
        """
        if self.world == 1:
            return
        mine = {name: state_digest(part.state_dict()) for name, part in parts.items()}
        everyone: list[dict[str, str]] = gather_object([mine])
        differing = [n for n in mine if any(other[n] != mine[n] for other in everyone)]
        if differing:
            raise UserError(
                f"processes hold different states of {', '.join(differing)}; nothing was saved. "
                "Run it again to go on from the last checkpoint; if it happens again, look for a "
                "faulty device or different versions of software among the machines"
            )

    def wait(self) -> None:
        """Block until every process has come here."""
        self.accelerator.wait_for_everyone()


def state_digest(state: Mapping[str, Any]) -> str:
    """SHA-256 over names, shapes and bytes of a state dict, also a nested one (an optimiser's)."""
    digest = hashlib.sha256()
    for name, value in sorted(_leaves(state), key=lambda leaf: leaf[0]):
        if not isinstance(value, Tensor):
            digest.update(f"{name}{value!r}".encode())
            continue
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _leaves(state: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors and plain values with their paths, which differ from each other."""
    if isinstance(state, Mapping):
        items = [(str(key), value) for key, value in state.items()]
    elif isinstance(state, (list, tuple)):
        items = [(str(index), value) for index, value in enumerate(state)]
    else:
        yield path, state
        return
    for name, value in items:
        yield from _leaves(value, f"{path}/{name}" if path else name)


def steps_for(images: float, batch_size: int) -> int:
    """Optimiser steps that show at least `images` images."""
    return max(1, math.ceil(images / batch_size))


def crossed(images_seen: int, batch_size: int, interval: int) -> bool:
    """Whether the last batch passed a multiple of `interval` images."""
    return images_seen // interval != (images_seen - batch_size) // interval
