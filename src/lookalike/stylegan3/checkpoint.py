"""StyleGAN3 networks on disk: one safetensors file with both networks and their configuration.

`export_generator` makes a file of the generator alone, which is all that drawing needs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator, last_map
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

KIND: Kind = "stylegan3"
GENERATOR, DISCRIMINATOR = "generator.", "discriminator."
FULLY_CONNECTED = DISCRIMINATOR + "fc.weight"
FIRST_MAPPING = GENERATOR + "mapping.layers.0.weight"
EMBEDDINGS = ("mapping.embed.weight", "mapping.embed.bias")


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
) -> None:
    """Write the averaged generator and the discriminator (needed for further transfer).

    `recipe` says how they were trained, from what, and under which licence.
    `dtype` float16 halves the file at a relative error of 2^-11, for a starting point that ships.
    """
    tensors = {GENERATOR + name: t for name, t in generator.state_dict().items()}
    tensors |= {DISCRIMINATOR + name: t for name, t in discriminator.state_dict().items()}
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
class _Content:
    """A checkpoint in memory, and what it says of itself."""

    model: SavedModel
    config: GeneratorConfig
    classes: Classes | None


def _read(path: Path) -> _Content:
    model = load_model(path, KIND)
    try:
        config = read_settings(GeneratorConfig, model.architecture.get("generator"), "generator")
        given = model.architecture.get("classes")
        classes = None if given is None else read_settings(Classes, given, "classes")
        if config.c_dim != (len(classes.names) if classes else 0):
            raise ValueError(f"c_dim is {config.c_dim}, which is not the number of classes")
    except ValueError as error:
        raise unreadable(path, error) from error
    return _Content(model, config, classes)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t.float() for n, t in tensors.items() if n.startswith(prefix)}


def load_generator(path: Path, device: torch.device | str = "cpu") -> Generator:
    """The averaged generator, in evaluation mode, frozen.

    Raises:
        UserError: no such file, or it holds something else, or tensors that do not fit together.
    """
    content = _read(path)
    try:
        generator = build_fitting(
            lambda: Generator(content.config, content.classes),
            _part(content.model.tensors, GENERATOR),
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
    if output.suffix != ".safetensors":
        raise UserError(f"cannot write {output}: the name must end in .safetensors")
    model = _read(source).model
    if output.exists() and output.samefile(source):
        raise UserError(f"cannot write {output}: it is the checkpoint itself; give another name")
    kept = {name: tensor for name, tensor in model.tensors.items() if name.startswith(GENERATOR)}
    own = {name: part for name, part in model.architecture.items() if name != "discriminator"}
    origin = {"exported_from": source.name, "exported_from_sha256": sha256_file(source)}
    recipe = model.recipe | origin
    save_model(output, KIND, kept, own, recipe)
    return recipe


Outcome = Literal["transferred", "adapted", "new", "left"]


@dataclass(frozen=True)
class TensorReport:
    """What became of one tensor of the new networks, or of one that the source has left over."""

    name: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class TransferReport:
    """What became of every tensor of the new networks and of the source.

    Attributes:
        tensors: each network's in its order; after them, under the source's names, those of the
            source that were `left`.
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
        others: tuple[Outcome, ...] = ("adapted", "new", "left")
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
    connected layer are adapted (`_resize_map`). From an unconditional generator, a conditional one
    takes the first mapping layer's columns for z, and those for the embedding start at zero, so
    that at first every class is drawn as the source draws (`_append_embedding`). Embeddings of
    other classes, and whatever else does not fit, stay as they were initialised. Filters are no
    part of a checkpoint: they are those of the new canvas.

    Raises:
        UserError: not one weight fits.
    """
    content = _read(path)
    canvases = (content.config, generator.config)
    maps = [last_map(canvas.height, canvas.width) for canvas in canvases]
    old, new = content.classes, generator.classes
    other_classes = (old and old.names) != (new and new.names)
    reports: list[TensorReport] = []
    parts: list[tuple[str, nn.Module]] = [(GENERATOR, generator), (DISCRIMINATOR, discriminator)]
    for prefix, module in parts:
        source, state = _part(content.model.tensors, prefix), module.state_dict()
        outcomes: dict[str, Outcome] = {}
        taken = set()
        for name, own in state.items():
            theirs = _counterpart(name, state, source)
            found = source.get(theirs)
            weight = name.rpartition(".")[0] + ".weight"
            outcome: Outcome = "new"
            if name in EMBEDDINGS and found is not None and other_classes:
                reason = "the source has other classes"
            elif found is None:
                reason = "the source has no such layer"
            elif own.dim() < 2 and outcomes.get(weight) == "new":
                reason = "its layer's weight is new"
            else:
                reason = "" if theirs == name else f"from {prefix}{theirs}"
                outcome = "transferred"
                if prefix + name == FULLY_CONNECTED and maps[0] != maps[1]:
                    found = _resize_map(found, *maps)
                    outcome, reason = "adapted", "last feature map {} to {}".format(*maps)
                if prefix + name == FIRST_MAPPING and new and not old:
                    found = _append_embedding(found, own)
                    outcome = "adapted"
                    reason = "z's columns are the source's, the embedding's start at zero"
                if found.shape == own.shape:
                    state[name] = found.to(own.dtype)
                else:
                    outcome = "new"
                    reason = f"{list(found.shape)} in the source, {list(own.shape)} here"
            if outcome != "new":
                taken.add(theirs)
            outcomes[name] = outcome
            reports.append(TensorReport(prefix + name, outcome, reason))
        module.load_state_dict(state)
        reports += [
            TensorReport(prefix + name, "left", "nothing here takes it")
            for name in source
            if name not in taken
        ]
    if not any(
        r.outcome in ("transferred", "adapted") and r.name.endswith(".weight") for r in reports
    ):
        raise UserError(f"{path}: no weight fits these networks; compare their sizes with gan.*")
    return TransferReport(tuple(reports), str(content.model.recipe.get("licence", "")))


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


def _append_embedding(weight: Tensor, own: Tensor) -> Tensor:
    """Columns [out, z_dim] of the first mapping layer, with zeros for what `own` has beyond them.

    Weights are multiplied by 1 / sqrt(fan-in) at run time; its change is put into them.
    """
    w_dim, columns = own.shape
    if weight.dim() != 2 or weight.shape[1] != columns - w_dim:
        return weight  # of another z_dim; the shapes will differ
    gain: float = (columns / weight.shape[1]) ** 0.5
    return nn.functional.pad(weight * gain, (0, w_dim))


def _resize_map(weight: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Columns [out, C * h * w] of a fully connected layer for a feature map of another size.

    Each position's weight is shared out over the positions of the new map that it overlaps, so a
    feature that is the same everywhere gives the same answer as before. Weights are multiplied by
    1 / sqrt(fan-in) at run time; the change of the fan-in is put into them.
    """
    if weight.dim() != 2 or weight.shape[1] % (source[0] * source[1]):
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
