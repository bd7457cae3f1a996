"""StyleGAN3 networks on disk: one safetensors file with both networks and their configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lookalike.errors import UserError
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import FINAL_SIDE, Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.training.checkpoint import load_weights, save_weights

KIND = "stylegan3"
GENERATOR, DISCRIMINATOR = "generator.", "discriminator."
FULLY_CONNECTED = DISCRIMINATOR + "fc.weight"


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


Outcome = Literal["transferred", "adapted", "new"]


@dataclass(frozen=True)
class TensorReport:
    """What became of one tensor of the new networks, and why."""

    name: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class TransferReport:
    """What became of every tensor of the new networks.

    Attributes:
        tensors: in the networks' order.
        licence: of the source, where it carries one; it binds what is trained from it.
    """

    tensors: tuple[TensorReport, ...]
    licence: str

    def names(self, outcome: Outcome) -> list[str]:
        """The tensors with this outcome."""
        return [tensor.name for tensor in self.tensors if tensor.outcome == outcome]

    def __str__(self) -> str:
        """One line: how many, and the names of what is not simply the source's."""
        text = f"{len(self.names('transferred'))} tensors transferred"
        others: tuple[Outcome, ...] = ("adapted", "new")
        for outcome in others:
            names = self.names(outcome)
            if names:
                more = f" and {len(names) - 4} more" if len(names) > 4 else ""
                text += f"; {len(names)} {outcome}: {', '.join(names[:4])}{more}"
        return text

    def write(self, path: Path) -> None:
        """The whole table as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        table = {"licence": self.licence, "tensors": [asdict(t) for t in self.tensors]}
        path.write_text(json.dumps(table, indent=1) + "\n")


def transfer(path: Path, generator: Generator, discriminator: Discriminator) -> TransferReport:
    """Start both networks from a checkpoint of any canvas.

    Synthesis layers correspond by index (ToRGB to ToRGB), the discriminator's blocks by resolution.
    A tensor is taken over where the shape is the same, biases and magnitudes only together with
    their layer's weight. From another aspect ratio, the columns of the discriminator's fully
    connected layer are adapted (`_resize_map`). The rest stays as it was initialised. Filters are
    no part of a checkpoint: they are those of the new canvas.

    Raises:
        UserError: not one weight fits.
    """
    tensors, metadata = _read(path)
    canvas = metadata["generator"]
    maps = (
        _last_map(canvas["height"], canvas["width"]),
        _last_map(generator.config.height, generator.config.width),
    )
    reports: list[TensorReport] = []
    parts: list[tuple[str, nn.Module]] = [(GENERATOR, generator), (DISCRIMINATOR, discriminator)]
    for prefix, module in parts:
        source, state = _part(tensors, prefix), module.state_dict()
        outcomes: dict[str, Outcome] = {}
        for name, own in state.items():
            theirs = _counterpart(name, state, source)
            found = source.get(theirs)
            weight = name.rpartition(".")[0] + ".weight"
            outcome: Outcome = "new"
            if found is None:
                reason = "the source has no such layer"
            elif own.dim() < 2 and outcomes.get(weight) == "new":
                reason = "its layer's weight is new"
            else:
                reason = "" if theirs == name else f"from {prefix}{theirs}"
                outcome = "transferred"
                if prefix + name == FULLY_CONNECTED and maps[0] != maps[1]:
                    found = _resize_map(found, *maps)
                    outcome, reason = "adapted", "last feature map {} to {}".format(*maps)
                if found.shape == own.shape:
                    state[name] = found.to(own.dtype)
                else:
                    outcome = "new"
                    reason = f"{list(found.shape)} in the source, {list(own.shape)} here"
            outcomes[name] = outcome
            reports.append(TensorReport(prefix + name, outcome, reason))
        module.load_state_dict(state)
    if not any(r.outcome != "new" and r.name.endswith(".weight") for r in reports):
        raise UserError(f"{path}: no weight fits these networks; compare their sizes with gan.*")
    return TransferReport(tuple(reports), metadata.get("provenance", {}).get("licence", ""))


def _counterpart(name: str, own: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> str:
    """What a tensor is called in a source with other numbers of layers and blocks ("": nothing)."""
    for stem, aligned_at_end in (("synthesis.layers.", False), ("blocks.", True)):
        if not name.startswith(stem):
            continue
        index, _, rest = name.removeprefix(stem).partition(".")
        here, there = (_count(state, stem) for state in (own, source))
        position = int(index)
        if aligned_at_end or position == here - 1:  # blocks end at 4x4, the layers in ToRGB
            position += there - here
        elif position >= there - 1:
            return ""
        return f"{stem}{position}.{rest}" if position >= 0 else ""
    return name


def _count(state: Mapping[str, Tensor], stem: str) -> int:
    return len({n.removeprefix(stem).split(".")[0] for n in state if n.startswith(stem)})


def _last_map(height: int, width: int) -> tuple[int, int]:
    """Size of the discriminator's last feature map."""
    side = max(height, width)
    return FINAL_SIDE * height // side, FINAL_SIDE * width // side


def _resize_map(weight: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Columns [out, C * h * w] of a fully connected layer for a feature map of another size.

    Each position's weight is shared out over the positions of the new map that it overlaps, so a
    feature that is the same everywhere gives the same answer as before. Weights are multiplied by
    1 / sqrt(fan-in) at run time; the change of the fan-in is put into them.
    """
    if weight.shape[1] % (source[0] * source[1]):
        return weight  # of other channels; the shapes will differ
    rows, columns = (_overlap(*sizes) for sizes in zip(source, target, strict=True))
    planes = weight.reshape(weight.shape[0], -1, *source)
    resized: Tensor = torch.einsum("tr,ocrs,us->octu", rows, planes, columns).flatten(1)
    gain: float = (resized.shape[1] / weight.shape[1]) ** 0.5
    return resized * gain


def _overlap(source: int, target: int) -> Tensor:
    """Share of each of `source` equal parts of a line in each of `target`, [target, source]."""
    edges, cuts = torch.arange(source + 1) / source, torch.arange(target + 1) / target
    low = torch.maximum(edges[None, :-1], cuts[:-1, None])
    high = torch.minimum(edges[None, 1:], cuts[1:, None])
    return (high - low).clamp(min=0) * source
