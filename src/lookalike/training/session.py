"""One process of a training run, on top of Accelerate.

A global batch is cut into micro-batches of a fixed size. Data, noise and augmentation of a
micro-batch depend only on (seed, images seen, micro-batch number), gradients and batch statistics
are averaged over all of them. So the result does not depend on how many processes share the
micro-batches: one process accumulates what eight would compute at once, and a resumed run continues
exactly, without saving any random state.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object, reduce
from torch import Tensor, nn

from lookalike.errors import UserError

Precision = Literal["no", "bf16"]


class Session:
    """Device, process group and seeds of one process.

    Started alone it is the only process; under `accelerate launch` or `torchrun` it is one of many.

    Attributes:
        device: where this process computes.
        rank, world: this process' number and how many there are.
        is_main: whether this process writes files, metrics and progress.
    """

    def __init__(self, seed: int, precision: Precision = "no"):
        self.accelerator = Accelerator(mixed_precision=precision)
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
            raise UserError(
                f"batch_size {batch_size} must be a multiple of micro_batch {micro_batch} "
                f"times the number of processes ({self.world})"
            )
        each = count // self.world
        return range(self.rank * each, (self.rank + 1) * each)

    def seed_step(self, images_seen: int, micro_batch: int, phase: str = "") -> None:
        """Seed torch on every device for one phase of one micro-batch."""
        torch.manual_seed(derive_seed(self.seed, images_seen, micro_batch, phase))

    def autocast(self) -> AbstractContextManager[object]:
        """The mixed-precision context that `precision` asked for."""
        return self.accelerator.autocast()  # type: ignore[no-any-return]

    def average_gradients(self, parameters: Iterable[nn.Parameter], micro_batches: int) -> None:
        """Turn gradients summed over this process' micro-batches into the global mean.

        One flat all-reduce (as StyleGAN3 does) instead of DDP's hooks, which break on R1's double
        backward and on networks that take turns. NaN becomes 0 and infinity 1e5, so that one bad
        step cannot destroy a run.
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

    def check_replicas(self, **modules: nn.Module) -> None:
        """Verify that all processes hold the same bits.

        Raises:
            RuntimeError: they do not; names the modules that differ.
        """
        if self.world == 1:
            return
        mine = {name: state_digest(module.state_dict()) for name, module in modules.items()}
        everyone: list[dict[str, str]] = gather_object([mine])
        differing = [n for n in mine if any(other[n] != mine[n] for other in everyone)]
        if differing:
            raise RuntimeError(f"processes hold different weights: {', '.join(differing)}")

    def wait(self) -> None:
        """Block until every process has come here."""
        self.accelerator.wait_for_everyone()


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable, the same on every machine."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and bytes of a state dict."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def steps_for(images: float, batch_size: int) -> int:
    """Optimiser steps that show at least `images` images."""
    return max(1, math.ceil(images / batch_size))


def crossed(images_seen: int, batch_size: int, interval: int) -> bool:
    """Whether the last batch passed a multiple of `interval` images."""
    return images_seen // interval != (images_seen - batch_size) // interval
