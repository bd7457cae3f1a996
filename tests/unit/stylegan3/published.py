"""Pickles in the form in which NVIDIA publishes StyleGAN3, made of this project's own networks."""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor, nn

from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator

BUFFERS = ("freqs", "phases", "transform", "magnitude_ema", "w_avg", "_filter")


class EasyDict(dict[str, Any]):
    """Pickled under the name of a class that nobody needs to have."""

    __module__ = "dnnlib.util"


def _reconstruct_persistent_obj(meta: object) -> None:
    raise AssertionError("an importer must not call this")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


class Persistent:
    """An object that carries its class's source code along."""

    def __init__(self, class_name: str, state: dict[str, Any], source: str) -> None:
        self.meta = {
            "type": "class",
            "version": 6,
            "module_src": source,
            "class_name": class_name,
            "state": state,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconstruct_persistent_obj, (self.meta,), None


@contextmanager
def foreign_modules() -> Iterator[None]:
    """The modules that pickle looks the foreign names up in while it writes them."""
    names = ("dnnlib", "dnnlib.util", "torch_utils", "torch_utils.persistence")
    made = {name: types.ModuleType(name) for name in names}
    made["dnnlib.util"].__dict__["EasyDict"] = EasyDict
    reconstruct = _reconstruct_persistent_obj
    made["torch_utils.persistence"].__dict__[reconstruct.__name__] = reconstruct
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def dump(thing: object, protocol: int = 4) -> bytes:
    with foreign_modules():
        return pickle.dumps(thing, protocol)


def network(
    tensors: Mapping[str, Tensor], kwargs: Mapping[str, Any], class_name: str, source: str = ""
) -> Persistent:
    """Nested objects from tensors under dotted names."""
    children: dict[str, dict[str, Tensor]] = {}
    parameters: OrderedDict[str, Tensor | None] = OrderedDict()
    buffers: OrderedDict[str, Tensor | None] = OrderedDict()
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        if rest:
            children.setdefault(first, {})[rest] = tensor
        elif name.endswith(BUFFERS):
            buffers[name] = tensor
        else:
            parameters[name] = nn.Parameter(tensor, requires_grad=False)
    state = {
        "training": False,
        "_parameters": parameters,
        "_buffers": buffers,
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_modules": OrderedDict((n, network(t, {}, "Part", source)) for n, t in children.items()),
        "_init_args": (),
        "_init_kwargs": EasyDict(kwargs),
        "in_size": np.array([36, 36]),
        "in_sampling_rate": np.float64(16.0),
        "use_fp16": np.bool_(False),
        "bias_gain": None,
    }
    return Persistent(class_name, state, source)


def generator_tensors(generator: Generator) -> dict[str, Tensor]:
    """State under the published names, with filters that are wrong on purpose."""
    tensors = {}
    for name, tensor in generator.state_dict().items():
        name = name.replace("mapping.layers.", "mapping.fc").replace("frequencies", "freqs")
        for i, layer in reversed(list(enumerate(generator.synthesis.design.layers))):
            theirs = f"L{i}_{layer.out_size[0]}_{layer.out_channels}"
            name = name.replace(f"synthesis.layers.{i}.", f"synthesis.{theirs}.")
            tensors[f"synthesis.{theirs}.up_filter"] = tensor.new_zeros(7)
        tensors[name] = tensor
    return tensors


def discriminator_tensors(discriminator: Discriminator, side: int) -> dict[str, Tensor]:
    tensors = {}
    for name, tensor in discriminator.state_dict().items():
        if name.startswith("blocks."):
            _, index, rest = name.split(".", 2)
            name = f"b{side >> int(index)}.{rest}"
            tensors[f"b{side >> int(index)}.resample_filter"] = tensor.new_zeros(4, 4)
        elif name.startswith("mapping."):
            name = name.replace("mapping.layers.", "mapping.fc")
        elif name.startswith("from_rgb."):
            name = name.replace("from_rgb.", f"b{side}.fromrgb.")
        else:
            name = f"b4.{name}"
        tensors[name] = tensor
    return tensors


def generator_kwargs(generator: Generator) -> dict[str, Any]:
    config = generator.config
    return {
        "z_dim": config.z_dim,
        "c_dim": config.c_dim,
        "w_dim": config.w_dim,
        "img_resolution": config.height,
        "img_channels": 3,
        "channel_base": config.channel_base,
        "channel_max": config.channel_max,
        "num_layers": config.num_layers,
        "margin_size": config.margin,
        "magnitude_ema_beta": 0.999,
        "mapping_kwargs": EasyDict(num_layers=config.mapping_layers),
        **({"conv_kernel": 1, "use_radial_filters": True} if config.radial else {}),
    }


def discriminator_kwargs(
    side: int, channel_base: int, channel_max: int, c_dim: int = 0
) -> dict[str, Any]:
    return {
        "c_dim": c_dim,
        "img_resolution": side,
        "img_channels": 3,
        "channel_base": channel_base,
        "channel_max": channel_max,
        "num_fp16_res": 4,
        "conv_clamp": 256,
        "epilogue_kwargs": EasyDict(mbstd_group_size=4),
    }
