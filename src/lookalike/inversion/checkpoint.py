"""Encoders as files, and new ones by the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lookalike.config import EncoderConfig
from lookalike.errors import UserError
from lookalike.inversion.codes import CodeEncoder, CodeNetwork
from lookalike.inversion.encoder import Encoder, EncoderNetwork
from lookalike.inversion.restyle import ReStyleEncoder, ReStyleNetwork
from lookalike.stylegan3.generator import Generator
from lookalike.training.model_file import (
    Kind,
    build_fitting,
    load_model,
    read_settings,
    save_model,
    unreadable,
)
from lookalike.training.session import state_digest

KIND: Kind = "encoder"


@dataclass(frozen=True)
class EncoderArchitecture:
    """Everything that determines an encoder, its generator given.

    Raises ``ValueError`` if there can be no such encoder.
    """

    height: int
    width: int
    """Of the images, pixels."""
    channels: int
    """Of the network's first stage."""
    steps: int
    """Of refinement, when it inverts."""
    generator: str
    """Digest of the generator's weights; another generator's latents mean something else."""
    structure_styles: int = 0
    """Of the generator's styles, from the first; 0: a ReStyle encoder, which reads one image."""

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.channels, self.steps) < 1:
            raise ValueError("height, width, channels and steps must be at least 1")
        if self.structure_styles < 0 or (self.structure_styles and self.steps > 1):
            raise ValueError("structure_styles must not be negative, and is read in one step")

    def build(self, num_ws: int, w_dim: int) -> EncoderNetwork:
        """The untrained network, for a generator of so many styles of such a length.

        Raises:
            ValueError: too few styles.
        """
        if self.structure_styles >= num_ws:
            raise ValueError(
                f"structure_styles is {self.structure_styles}, of {num_ws} styles altogether"
            )
        size = self.height, self.width, self.channels
        if self.structure_styles:
            return CodeNetwork(*size, num_ws, w_dim, self.structure_styles)
        return ReStyleNetwork(*size, num_ws, w_dim)

    def bind(self, network: EncoderNetwork, generator: Generator) -> Encoder:
        """The encoder that a network is, with the generator that it is of."""
        network.to(generator.mapping.w_avg.device)
        if isinstance(network, CodeNetwork):
            return CodeEncoder(network, generator)
        assert isinstance(network, ReStyleNetwork)
        return ReStyleEncoder(network, generator, self.steps)


def save_encoder(
    path: Path, encoder: Encoder, recipe: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write the network's weights, with the digest of the generator they belong to.

    Args:
        recipe: how it was trained, say the perceptual loss and the images seen.
        dtype: of the floating-point tensors in the file.
    """
    network = encoder.network
    architecture = EncoderArchitecture(
        network.height,
        network.width,
        network.channels,
        encoder.steps,
        state_digest(encoder.generator.state_dict()),
        encoder.structure_styles,
    )
    tensors = {name: tensor.to(dtype) for name, tensor in network.state_dict().items()}
    save_model(path, KIND, tensors, asdict(architecture), recipe)


def load_encoder(path: Path, generator: Generator) -> Encoder:
    """Read what `save_encoder` wrote, ready to invert with `generator`.

    Raises:
        UserError: no such file, not an encoder, damaged, or trained on another generator.
    """
    model = load_model(path, KIND)
    try:
        own = read_settings(EncoderArchitecture, model.architecture, KIND)
        digest = state_digest(generator.state_dict())
        if own.generator != digest:
            raise UserError(
                f"{path} belongs to generator {own.generator[:12]}, not to {digest[:12]}; "
                "run `dvc repro train_encoder`"
            )
        return _filled(own, generator, model.tensors)
    except ValueError as error:
        raise unreadable(path, error) from error


def new_encoder(config: EncoderConfig, generator: Generator, start: Path | None = None) -> Encoder:
    """An encoder for `generator` to train, by the parameters; seed torch before.

    Args:
        start: the file of an encoder to go on from, of any generator with such styles.

    Raises:
        UserError: the generator has too few styles; the file is no encoder of that kind and size.
    """
    design = generator.config
    try:
        wanted = EncoderArchitecture(
            design.height,
            design.width,
            config.channels,
            config.steps,
            "",
            config.structure_styles,
        )
        if start is None:
            return wanted.bind(wanted.build(generator.num_ws, design.w_dim), generator)
    except ValueError as error:
        raise UserError(f"encoder: {error}") from error
    model = load_model(start, KIND)
    try:
        found = read_settings(EncoderArchitecture, model.architecture, KIND)
    except ValueError as error:
        raise unreadable(start, error) from error
    differing = [
        f"{name} {getattr(found, name)} instead of {getattr(wanted, name)}"
        for name in ("height", "width", "channels", "steps", "structure_styles")
        if getattr(found, name) != getattr(wanted, name)
    ]
    if differing:
        raise UserError(
            f"encoder.start: {start} has {', '.join(differing)}; change what encoder.* and gan.* "
            "say, or start with none"
        )
    try:
        encoder = _filled(wanted, generator, model.tensors)
    except ValueError as error:
        raise unreadable(start, error) from error
    encoder.network.train()
    return encoder


def _filled(own: EncoderArchitecture, generator: Generator, state: Mapping[str, Tensor]) -> Encoder:
    """The encoder with these tensors, to invert with.

    Raises:
        ValueError: the tensors are not its.
    """
    full = {name: tensor.float() for name, tensor in state.items()}
    num_ws, w_dim = generator.num_ws, generator.config.w_dim
    return own.bind(build_fitting(lambda: own.build(num_ws, w_dim), full).eval(), generator)
