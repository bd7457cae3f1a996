"""StyleGAN3 checkpoints as NVIDIA publishes them (pickles) become this project's safetensors.

The file is read as data (`pickles.py`): the source code that it carries is never looked at. The
averaged generator and the discriminator are taken over tensor by tensor, layers by their index.
Filters are computed, not copied. A tensor or a setting without counterpart is an error, never
dropped. Of the two generators the averaged one (G_ema) is taken, G is not. The classes of
conditional networks have numbers only: they are called 0, 1 and so on.

Networks that NVIDIA's trainer made with `--fp32` have no clamp (`conv_clamp` None). Here
activations are clamped to +-256 as in all others, so values beyond it differ; the import says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from lookalike.arguments import new_weights_file, pickle_file
from lookalike.errors import UserError
from lookalike.files import sha256_file, write_text
from lookalike.stylegan3.checkpoint import (
    DiscriminatorConfig,
    generator_settings,
    save_gan,
)
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.design import MAX_LAYERS, GeneratorConfig
from lookalike.stylegan3.discriminator import MAPPING_LAYERS, MAPPING_LR_MUL, Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.pickles import Module, RefusedError, printable, read_pickle
from lookalike.training.model_file import build_fitting

N = TypeVar("N", int, float)
MAX_SIDE = 1024  # pixels; the largest published networks have as many
MAX_CLASSES = 2**16
# Of a network as a tree: the published ones have three levels, 60 characters, 400 members.
MAX_DEPTH, MAX_NAME, MAX_MEMBERS = 8, 128, 4096
FILTER = re.compile(r"(^|[._])filter$")
# Settings that must have the value that is built in here, with those that may be absent.
FIXED_GENERATOR = {
    "img_channels": 3,
    "output_scale": 0.25,
    "conv_clamp": 256,
    "filter_size": 6,
    "lrelu_upsampling": 2,
}
FIXED_DISCRIMINATOR = {
    "img_channels": 3,
    "architecture": "resnet",
    "conv_clamp": 256,
}
FIXED_LABEL_MAPPING = {"num_layers": MAPPING_LAYERS, "lr_multiplier": MAPPING_LR_MUL}
FIXED_BLOCK = {"resample_filter": [1, 3, 3, 1], "activation": "lrelu"}
FIXED_EPILOGUE = {"mbstd_group_size": 4, "mbstd_num_channels": 1, "activation": "lrelu"}


@dataclass(frozen=True)
class NvidiaCheckpoint:
    """Both networks of a file, rebuilt here."""

    generator: Generator
    discriminator: Discriminator
    discriminator_config: DiscriminatorConfig
    clamped: bool
    """False: made with `--fp32`, without the clamp that is built in here."""

    def __str__(self) -> str:
        config = self.generator.config
        classes = f"{config.c_dim} classes, " if config.c_dim else ""
        return (
            f"StyleGAN3-{'R' if config.radial else 'T'} {config.height}x{config.width}, {classes}"
            f"{config.num_layers} layers, channel_base {config.channel_base}, "
            f"channel_max {config.channel_max}; discriminator "
            f"{self.discriminator_config.channel_base}, {self.discriminator_config.channel_max}"
            + ("" if self.clamped else "; made with --fp32: here activations beyond 256 are cut")
        )


def import_checkpoint(source: Path, output: Path, licence: str) -> NvidiaCheckpoint:
    """Read `source` and write `output` with its origin and licence; see `read_checkpoint`.

    A JSON file of the same name beside it says what is in it.

    Raises:
        UserError: another JSON file of that name is there; what `read_checkpoint` raises.
    """
    new_weights_file(output)
    beside = output.with_suffix(".json")
    if not _describes(beside, output.name):
        raise UserError(
            f"{beside} is there and does not describe {output.name}: it would be overwritten; move "
            "it, or give another --output"
        )
    checkpoint = read_checkpoint(source)
    provenance = {"source": source.name, "source_sha256": sha256_file(source), "licence": licence}
    save_gan(
        output,
        checkpoint.generator,
        checkpoint.discriminator,
        checkpoint.discriminator_config,
        provenance,
    )
    networks = {"generator": checkpoint.generator, "discriminator": checkpoint.discriminator}
    description = {
        "file": output.name,
        "sha256": sha256_file(output),
        **provenance,
        "taken": "G_ema (the averaged generator) and D; G was left out",
        "clamped": checkpoint.clamped,
        "generator": generator_settings(checkpoint.generator.config),
        "discriminator": asdict(checkpoint.discriminator_config),
        "tensors": {
            f"{role}.{name}": {"shape": list(tensor.shape), "dtype": str(tensor.dtype)[6:]}
            for role, network in networks.items()
            for name, tensor in network.state_dict().items()
        },
    }
    write_text(beside, json.dumps(description, indent=1) + "\n")
    return checkpoint


def _describes(path: Path, name: str) -> bool:
    """Whether there is nothing at `path`, or what an import to `name` wrote there."""
    if not path.exists():
        return True
    try:
        description = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return type(description) is dict and description.get("file") == name


def read_checkpoint(path: Path) -> NvidiaCheckpoint:
    """The networks `G_ema` and `D` of a pickle; nothing in it is run.

    Raises:
        UserError: no such file, a pickle that asks for anything but plain data (it is named), one
            of another kind of network, or a tensor or setting that has no counterpart here.
    """
    pickle_file(path)
    try:
        content = read_pickle(path.read_bytes())
        if type(content) is not dict or not {"G_ema", "D"} <= content.keys():
            raise RefusedError("it holds no networks called G_ema and D")
        networks = _unfold(content["G_ema"]), _unfold(content["D"])
        generator = _generator(*networks[0])
        discriminator, config, size = _discriminator(*networks[1])
        if size != (generator.config.height, generator.config.c_dim):
            raise RefusedError("G_ema and D are for different sizes, or numbers of classes")
    except RefusedError as error:
        raise UserError(f"{path} is refused, and nothing in it was run: {error}") from error
    clamped = all(settings.get("conv_clamp", 256) is not None for _, settings in networks)
    return NvidiaCheckpoint(generator, discriminator, config, clamped)


def generator_state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The generator's tensors under this project's names: layers by index, without filters."""
    state = {}
    for name, tensor in tensors.items():
        if FILTER.search(name):
            continue
        name = re.sub(r"^mapping\.fc(\d+)\.", r"mapping.layers.\1.", name)
        name = re.sub(r"^synthesis\.L(\d+)_\d+_\d+\.", r"synthesis.layers.\1.", name)
        state[name.replace("synthesis.input.freqs", "synthesis.input.frequencies")] = tensor
    return state


def discriminator_state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The discriminator's tensors under this project's names: blocks counted from the input."""
    sides = {int(m[1]) for name in tensors if (m := re.match(r"b(\d{1,5})\.", name))}
    smallest, largest = min(sides, default=0), max(sides, default=0)
    index = {side: i for i, side in enumerate(sorted(sides, reverse=True))}

    def ours(name: str) -> str:
        match = re.match(r"b(\d{1,5})\.(.*)", name)
        if match is None:
            return name
        side, rest = int(match[1]), match[2]
        if side == smallest:  # the epilogue
            return rest
        first = rest.startswith("fromrgb.") and side == largest
        return rest.replace("fromrgb", "from_rgb") if first else f"blocks.{index[side]}.{rest}"

    def mapped(name: str) -> str:
        return re.sub(r"^mapping\.fc(\d+)\.", r"mapping.layers.\1.", name)

    return {mapped(ours(n)): tensor for n, tensor in tensors.items() if not FILTER.search(n)}


def _unfold(network: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a network under dotted names, and the settings that it was made with."""
    if not isinstance(network, Module):
        raise RefusedError("G_ema or D is no network")
    settings = network.state.get("_init_kwargs")
    if type(settings) is not dict or network.state.get("_init_args"):
        raise RefusedError(f"{printable(network.class_name)} without _init_kwargs")
    tensors: dict[str, Tensor] = {}
    seen, count = set(), 0
    rest: list[tuple[str, Any]] = [("", network)]
    while rest:
        prefix, module = rest.pop()
        if not isinstance(module, Module) or id(module) in seen:
            raise RefusedError(f"the part {printable(prefix)} is no network, or used twice")
        seen.add(id(module))
        for kind in ("_parameters", "_buffers", "_modules"):
            members = module.state.get(kind, {})
            if type(members) is not dict or not all(type(name) is str for name in members):
                raise RefusedError(f"{printable(prefix)}{kind} of unknown form")
            # Parts may share one long name or one large dictionary: a small file, endless work.
            count += len(members)
            if count > MAX_MEMBERS:
                raise RefusedError(f"more than {MAX_MEMBERS} parts and tensors in one network")
            for name, value in members.items():
                if len(prefix) + len(name) > MAX_NAME or prefix.count(".") >= MAX_DEPTH:
                    raise RefusedError(
                        f"{printable(prefix + name)}: a name of more than {MAX_NAME} characters, "
                        f"or nested deeper than {MAX_DEPTH}"
                    )
                if kind == "_modules":
                    rest.append((f"{prefix}{name}.", value))
                elif isinstance(value, Tensor):
                    tensors[prefix + name] = value
                elif value is not None:
                    raise RefusedError(f"{printable(prefix + name)} is no tensor")
    return tensors, settings


def _generator(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Generator:
    if any(name.startswith("synthesis.b4.") for name in tensors):
        raise RefusedError("G_ema is a generator of StyleGAN2; only those of StyleGAN3 fit")
    mapping = settings.get("mapping_kwargs", {})
    known = {
        *("z_dim", "w_dim", "img_resolution", "channel_base", "channel_max", "num_layers"),
        *("margin_size", "num_critical", "first_cutoff", "first_stopband", "last_stopband_rel"),
        *("conv_kernel", "use_radial_filters", "c_dim", "mapping_kwargs", "num_fp16_res"),
        "magnitude_ema_beta",
    }
    _check(settings, "G_ema", known, FIXED_GENERATOR)
    _check(mapping, "G_ema.mapping", {"num_layers", "w_avg_beta"}, {"lr_multiplier": 0.01})
    kernel = _number(settings, "conv_kernel", 3, 1, 3)
    if kernel == 2 or settings.get("use_radial_filters", False) is not (kernel == 1):
        raise RefusedError("G_ema is of neither config T nor config R")
    side, c_dim = _side(settings), _number(settings, "c_dim", 0, 0, MAX_CLASSES)
    classes = Classes("class", tuple(map(str, range(c_dim))), (1,) * c_dim) if c_dim else None
    try:
        config = GeneratorConfig(
            side,
            side,
            z_dim=_number(settings, "z_dim", None, 1, 2**16),
            w_dim=_number(settings, "w_dim", None, 1, 2**16),
            channel_base=_number(settings, "channel_base", 32768, 1, 2**24),
            channel_max=_number(settings, "channel_max", 512, 1, 2**16),
            num_layers=_number(settings, "num_layers", 14, 1, MAX_LAYERS),
            margin=_number(settings, "margin_size", 10, 0, 64),
            num_critical=_number(settings, "num_critical", 2, 0, MAX_LAYERS),
            first_cutoff=_number(settings, "first_cutoff", 2.0, 1.0, 16.0),
            first_stopband=_number(settings, "first_stopband", 2**2.1, 1.0, 64.0),
            last_stopband_rel=_number(settings, "last_stopband_rel", 2**0.3, 1.0, 4.0),
            radial=kernel == 1,
            mapping_layers=_number(mapping, "num_layers", 2, 1, MAX_LAYERS),
            w_avg_beta=_number(mapping, "w_avg_beta", 0.998, 0.0, 1.0),
            c_dim=c_dim,
        )
        generator = build_fitting(lambda: Generator(config, classes), generator_state(tensors))
    except (ValueError, ArithmeticError) as error:
        raise RefusedError(f"G_ema: {error}") from error
    return generator.eval().requires_grad_(False)


def _discriminator(
    tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> tuple[Discriminator, DiscriminatorConfig, tuple[int, int]]:
    """The network, its channels, and its side and number of classes."""
    kwargs = {"mapping_kwargs", "block_kwargs", "epilogue_kwargs"}
    known = {"img_resolution", "channel_base", "channel_max", "c_dim", "num_fp16_res", *kwargs}
    _check(settings, "D", known, FIXED_DISCRIMINATOR)
    _check(settings.get("mapping_kwargs", {}), "D.mapping", set(), FIXED_LABEL_MAPPING)
    _check(settings.get("block_kwargs", {}), "D.block", {"freeze_layers"}, FIXED_BLOCK)
    _check(settings.get("epilogue_kwargs", {}), "D.epilogue", set(), FIXED_EPILOGUE)
    side, c_dim = _side(settings), _number(settings, "c_dim", 0, 0, MAX_CLASSES)
    base, most = (
        _number(settings, "channel_base", 32768, side, 2**24),
        _number(settings, "channel_max", 512, 1, 2**16),
    )
    try:
        discriminator = build_fitting(
            lambda: Discriminator(side, side, base, most, c_dim=c_dim), discriminator_state(tensors)
        )
    except ValueError as error:
        raise RefusedError(f"D: {error}") from error
    config = DiscriminatorConfig(base, most)
    return discriminator.eval().requires_grad_(False), config, (side, c_dim)


def _check(settings: Any, role: str, known: set[str], fixed: Mapping[str, object]) -> None:
    """Refuse settings that would make the weights mean something else than here."""
    if type(settings) is not dict:
        raise RefusedError(f"{role}: settings of unknown form")
    for name, value in settings.items():
        if type(name) is not str or name not in known | fixed.keys():
            raise RefusedError(f"{role} was made with {printable(str(name))}, unknown here")
        values = value if type(value) is list else [value]
        if name == "conv_clamp" and value is None:  # --fp32
            continue
        plain = all(type(v) in (int, float, str) for v in values)
        if name in fixed and not (plain and value == fixed[name]):
            shown = printable(str(value)) if plain else "another value"
            raise RefusedError(f"{role}: {name} is {shown}, here it is {fixed[name]}")


def _side(settings: Mapping[str, Any]) -> int:
    side = _number(settings, "img_resolution", None, 16, MAX_SIDE)
    if side & (side - 1):
        raise RefusedError(f"img_resolution is {side}, expected a power of two")
    return side


def _number(settings: Mapping[str, Any], name: str, default: N | None, low: N, high: N) -> N:
    value = settings.get(name, default)
    kinds = (int, float) if isinstance(low, float) else (int,)
    if type(value) not in kinds or not low <= value <= high:
        shown = printable(str(value)) if type(value) in (int, float) else "no number"
        raise RefusedError(f"{name} is {shown}, expected {low} to {high}")
    number: N = value
    return number
