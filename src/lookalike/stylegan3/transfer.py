"""Transfer learning: networks that start from a checkpoint of other sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from lookalike.errors import UserError
from lookalike.names import counted
from lookalike.stylegan3.checkpoint import (
    DISCRIMINATOR,
    GENERATOR,
    PROJECTED,
    part_of,
    read_checkpoint,
)
from lookalike.stylegan3.discriminator import Discriminator, last_map
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.projected import ProjectedDiscriminator

FULLY_CONNECTED = DISCRIMINATOR + "fc.weight"
FIRST_MAPPING = GENERATOR + "mapping.layers.0.weight"
# The discriminator's end is not widened: `conv` reads the minibatch standard deviation, which must
# not become another channel, and with classes `out` has as many outputs as inputs.
NOT_WIDENED = ("conv.weight", "out.weight")

Outcome = Literal["transferred", "adapted", "new", "left"]
NEW: Outcome = "new"


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
        text = f"{counted(len(self.names('transferred')), 'tensor')} transferred"
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


def transfer(
    path: Path,
    generator: Generator,
    discriminator: Discriminator,
    projected: ProjectedDiscriminator | None = None,
) -> TransferReport:
    """Start networks from a checkpoint of any canvas.

    Synthesis layers correspond by index (ToRGB to ToRGB), the discriminator's blocks by resolution.
    A tensor is taken over where the shape is the same, biases and magnitudes only together with
    their layer's weight. A network with more channels than the source's draws and judges at first
    as that does (`_widen`). From another aspect ratio, the columns of the discriminator's fully
    connected layer are adapted (`_resize_map`). From an unconditional generator, a conditional one
    takes the first mapping layer's columns for z, and those for the embedding start at zero, so
    that at first every class is drawn as the source draws (`_append_embedding`). Embeddings of
    other classes, and whatever else does not fit, stay as they were initialised. Filters are no
    part of a checkpoint: they are those of the new canvas.

    Raises:
        UserError: not one weight fits, or the source is of the other configuration, T or R: of its
            layers none would fit.
    """
    content = read_checkpoint(path)
    there, here = ("r" if c.radial else "t" for c in (content.config, generator.config))
    if there != here:
        raise UserError(
            f"{path} is of config {there}, and gan.config is {here}: name one of config {here} as "
            f"gan.start (`lookalike weights` lists some), or set gan.config: {there}"
        )
    old, new = content.classes, generator.classes
    fit = _Fit(
        maps=(
            last_map(content.config.height, content.config.width),
            last_map(generator.config.height, generator.config.width),
        ),
        appended=new is not None and old is None,
    )
    other_classes = (old and old.names) != (new and new.names)
    reports: list[TensorReport] = []
    parts: list[tuple[str, nn.Module]] = [(GENERATOR, generator), (DISCRIMINATOR, discriminator)]
    if projected is not None:
        parts.append((PROJECTED, projected.heads))
    for prefix, module in parts:
        source, state = part_of(content.model.tensors, prefix), module.state_dict()
        outcomes: dict[str, Outcome] = {}
        taken = set()
        for name, own in state.items():
            theirs = _counterpart(name, state, source)
            found = source.get(theirs)
            weight = name.rpartition(".")[0] + ".weight"
            if found is None:
                outcome, reason = NEW, "the source has no such layer"
            elif "embed" in name.split(".") and other_classes:
                outcome, reason = NEW, "the source has other classes"
            elif own.dim() < 2 and outcomes.get(weight) == NEW:
                outcome, reason = NEW, "its layer's weight is new"
            else:
                outcome, reason, state[name] = fit.fit(prefix, name, found, own)
                if outcome == "transferred" and theirs != name:
                    reason = f"from {prefix}{theirs}"
            if outcome != NEW:
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


@dataclass(frozen=True)
class _Fit:
    """How a tensor of the source is made to fit.

    Attributes:
        maps: sizes of the discriminators' last maps, the source's and the new one's.
        appended: whether the new mapping reads labels, and the source's does not.
    """

    maps: tuple[tuple[int, int], tuple[int, int]]
    appended: bool

    def fit(
        self, prefix: str, name: str, found: Tensor, own: Tensor
    ) -> tuple[Outcome, str, Tensor]:
        """Outcome, reason, and the tensor: `found`, adapted to `own`'s shape if need be."""
        outcome: Outcome = "transferred"
        reason, shape = "", list(found.shape)
        if prefix + name == FULLY_CONNECTED and self.maps[0] != self.maps[1]:
            found = _resize_map(found, *self.maps)
            outcome, reason = "adapted", "last feature map {} to {}".format(*self.maps)
        if prefix + name == FIRST_MAPPING and self.appended:
            found = _append_embedding(found, own)
            outcome = "adapted"
            reason = "z's columns are the source's, the embedding's start at zero"
        if prefix != PROJECTED and name not in NOT_WIDENED and _is_wider(own, found):
            found = _widen(found, own)
            outcome, reason = "adapted", f"{shape} widened to {list(own.shape)}"
        if found.shape != own.shape:
            return NEW, f"{shape} in the source, {list(own.shape)} here", own
        return outcome, reason, found.to(own.dtype)


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


def _is_wider(own: Tensor, found: Tensor) -> bool:
    """Whether `own` is of the same layer with more channels."""
    pairs = list(zip(own.shape[:2], found.shape[:2], strict=False))
    return (
        own.dim() == found.dim()
        and own.shape[2:] == found.shape[2:]
        and all(a >= b for a, b in pairs)
        and any(a > b for a, b in pairs)
    )


def _widen(found: Tensor, own: Tensor) -> Tensor:
    """`own`, a tensor of more channels, with `found` as its first ones (Chen et al. 2016).

    New outputs stay as they were initialised; the old ones do not listen to them yet, so that the
    network does at first what it did before. Weights are multiplied by 1 / sqrt(fan-in) at run
    time; its change is put into them. (Where they are demodulated it makes no difference.)
    """
    wide = own.clone()
    if own.dim() < 2:
        wide[: len(found)] = found
        return wide
    outputs, inputs = found.shape[:2]
    wide[:outputs] = 0
    wide[:outputs, :inputs] = found * (own.shape[1] / inputs) ** 0.5
    return wide


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
