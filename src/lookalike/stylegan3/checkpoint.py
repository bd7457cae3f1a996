"""StyleGAN3 networks on disk: one safetensors file with both networks and their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lookalike.errors import UserError
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.training.checkpoint import load_weights, save_weights

KIND = "stylegan3"
GENERATOR, DISCRIMINATOR = "generator.", "discriminator."


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Channels of the discriminator: min(channel_base / resolution, channel_max)."""

    channel_base: int
    channel_max: int


def save_gan(
    path: Path,
    generator: Generator,
    discriminator: Discriminator,
    discriminator_config: DiscriminatorConfig,
    provenance: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the averaged generator and the discriminator (needed for further transfer).

    `dtype` float16 halves the file at a relative error of 2^-11, for a starting point that ships.
    """
    tensors = {GENERATOR + name: t for name, t in generator.state_dict().items()}
    tensors |= {DISCRIMINATOR + name: t for name, t in discriminator.state_dict().items()}
    metadata = {
        "kind": KIND,
        "generator": asdict(generator.config),
        "discriminator": asdict(discriminator_config),
        "provenance": dict(provenance),
    }
    save_weights(path, {name: t.to(dtype) for name, t in tensors.items()}, metadata)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, metadata = load_weights(path)
    if metadata.get("kind") != KIND:
        raise UserError(f"{path} holds {metadata.get('kind', 'something else')}, not a StyleGAN3")
    return {name: t.float() for name, t in tensors.items()}, metadata


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def load_generator(path: Path, device: torch.device | str = "cpu") -> Generator:
    """The averaged generator, in evaluation mode, frozen.

    Raises:
        UserError: no such file, or it holds something else.
    """
    tensors, metadata = _read(path)
    generator = Generator(GeneratorConfig(**metadata["generator"]))
    generator.load_state_dict(_part(tensors, GENERATOR))
    return generator.eval().requires_grad_(False).to(device)


@dataclass(frozen=True)
class TransferReport:
    """What became of each tensor: name -> transferred, new, or why not."""

    transferred: tuple[str, ...]
    new: tuple[str, ...]

    def __str__(self) -> str:
        new = f"; new: {', '.join(self.new)}" if self.new else ""
        return f"{len(self.transferred)} tensors transferred{new}"


def transfer(path: Path, generator: Generator, discriminator: Discriminator) -> TransferReport:
    """Start both networks from a checkpoint, tensor by tensor of equal name and shape.

    Filters are no part of a checkpoint, so they are always those of the new canvas. Sizes that
    differ (another channel base, another canvas in the discriminator's last layer) stay as they
    were initialised, and the report names them.

    Raises:
        UserError: not one tensor fits.
    """
    tensors, _ = _read(path)
    transferred, new = [], []
    parts: list[tuple[str, nn.Module]] = [(GENERATOR, generator), (DISCRIMINATOR, discriminator)]
    for prefix, module in parts:
        source = _part(tensors, prefix)
        state = module.state_dict()
        for name, tensor in state.items():
            if name in source and source[name].shape == tensor.shape:
                state[name] = source[name].to(tensor.dtype)
                transferred.append(prefix + name)
            else:
                new.append(prefix + name)
        module.load_state_dict(state)
    if not transferred:
        raise UserError(f"{path}: no tensor fits these networks; compare their sizes with gan.*")
    return TransferReport(tuple(transferred), tuple(new))
