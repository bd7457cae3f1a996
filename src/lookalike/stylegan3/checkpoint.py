"""StyleGAN3 networks on disk: one safetensors file with both networks and their configuration.

`export_generator` makes a file of the generator alone, which is all that drawing needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lookalike.arguments import new_weights_file
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.training.model_file import (
    Kind,
    SavedModel,
    build_fitting,
    load_model,
    read_settings,
    save_model,
    unreadable,
)

if TYPE_CHECKING:
    from lookalike.stylegan3.projected import ProjectedDiscriminator

KIND: Kind = "stylegan3"
GENERATOR, DISCRIMINATOR, PROJECTED = "generator.", "discriminator.", "projected."


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
    recipe: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
    projected: ProjectedDiscriminator | None = None,
) -> None:
    """Write the averaged generator and what it was trained against (for further transfer).

    Of the discriminator on features that is the heads; the rest is frozen and always the same.
    `recipe` says how they were trained, from what, and under which licence.
    `dtype` float16 halves the file at a relative error of 2^-11, for a starting point that ships.
    """
    tensors = {GENERATOR + name: t for name, t in generator.state_dict().items()}
    tensors |= {DISCRIMINATOR + name: t for name, t in discriminator.state_dict().items()}
    if projected is not None:
        tensors |= {PROJECTED + name: t for name, t in projected.heads.state_dict().items()}
    architecture = {
        "generator": generator_settings(generator.config),
        "discriminator": asdict(discriminator_config),
    }
    if generator.classes is not None:
        architecture["classes"] = asdict(generator.classes)
    save_model(path, KIND, {name: t.to(dtype) for name, t in tensors.items()}, architecture, recipe)


def generator_settings(config: GeneratorConfig) -> dict[str, Any]:
    """What a checkpoint says of its generator; of classes only where there are some."""
    return {name: value for name, value in asdict(config).items() if name != "c_dim" or value}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory, and what it says of itself."""

    model: SavedModel
    config: GeneratorConfig
    classes: Classes | None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file of `save_gan` or `export_generator`.

    Raises:
        UserError: no such file, or it holds something else.
    """
    model = load_model(path, KIND)
    try:
        config = read_settings(GeneratorConfig, model.architecture.get("generator"), "generator")
        given = model.architecture.get("classes")
        classes = None if given is None else read_settings(Classes, given, "classes")
        if config.c_dim != (len(classes.names) if classes else 0):
            raise ValueError(f"c_dim is {config.c_dim}, which is not the number of classes")
    except ValueError as error:
        raise unreadable(path, error) from error
    return Checkpoint(model, config, classes)


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """One network's tensors in float32, under its own names."""
    return {n.removeprefix(prefix): t.float() for n, t in tensors.items() if n.startswith(prefix)}


def load_generator(path: Path, device: torch.device | str = "cpu") -> Generator:
    """The averaged generator, in evaluation mode, frozen.

    Raises:
        UserError: no such file, or it holds something else, or tensors that do not fit together.
    """
    content = read_checkpoint(path)
    try:
        generator = build_fitting(
            lambda: Generator(content.config, content.classes),
            part_of(content.model.tensors, GENERATOR),
        )
    except ValueError as error:
        raise unreadable(path, error) from error
    return generator.eval().requires_grad_(False).to(device)


def export_generator(source: Path, output: Path) -> dict[str, Any]:
    """Write the generator of `source` alone, as it is stored, and return its recipe.

    Raises:
        UserError: no such checkpoint, or `output` is it, or is not called *.safetensors, or cannot
            be written.
    """
    new_weights_file(output)
    model = read_checkpoint(source).model
    if output.exists() and output.samefile(source):
        raise UserError(f"cannot write {output}: it is the checkpoint itself; give another name")
    kept = {name: tensor for name, tensor in model.tensors.items() if name.startswith(GENERATOR)}
    own = {name: part for name, part in model.architecture.items() if name != "discriminator"}
    origin = {"exported_from": source.name, "exported_from_sha256": sha256_file(source)}
    recipe = model.recipe | origin
    save_model(output, KIND, kept, own, recipe)
    return recipe
