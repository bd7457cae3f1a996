"""Darknet's networks in PyTorch: YOLOv4-tiny (Bochkovskiy et al. 2020) from its two files.

A cfg lists the layers, in blocks of `key=value`; a weights file holds a header and then the numbers
of every convolution as float32, without names: in the order of the layers, of each its biases, of a
normalised one its scales, means and variances, and its kernel. Only the layers that YOLOv4-tiny has
are known here; another one is an error that names it.

In inference a batch normalisation is a factor and a shift per channel, which go into the
convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike.errors import UserError

EPSILON = 1e-6  # of Darknet's batch normalisation
SLOPE = 0.1  # of its leaky rectifier
BOX = 5  # numbers of a box before its classes: x, y, width, height, objectness
VERSION_NUMBERS = 3  # major, minor, revision


@dataclass(frozen=True)
class Block:
    """A block of a cfg: `[kind]` with its settings, at the line where it starts."""

    kind: str
    settings: dict[str, str]
    line: int

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number.

        Raises:
            ValueError: it is missing, or none.
        """
        [number] = self.numbers(key, default)
        return number

    def numbers(self, key: str, default: int | None = None) -> list[int]:
        """Whole numbers between commas.

        Raises:
            ValueError: they are missing, or none.
        """
        text = self.settings.get(key, default)
        if text is None:
            raise ValueError(f"line {self.line}: [{self.kind}] has no {key}")
        try:
            return [int(part) for part in str(text).split(",")]
        except ValueError:
            raise ValueError(f"line {self.line}: {key}={text} in [{self.kind}]") from None


def read_cfg(text: str) -> list[Block]:
    """The blocks of a cfg.

    Raises:
        ValueError: a line is neither a block's name nor a setting; names it.
    """
    blocks: list[Block] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#")[0].strip()
        key, equals, value = line.partition("=")
        if line.startswith("[") and line.endswith("]"):
            blocks.append(Block(line[1:-1].strip(), {}, number))
        elif equals and blocks:
            blocks[-1].settings[key.strip()] = value.strip()
        elif line:
            raise ValueError(f"line {number} is no setting: {line[:50]}")
    return blocks


class Numbers:
    """The numbers of a weights file, taken one after the other.

    Raises:
        ValueError: the file is shorter than its header.
    """

    def __init__(self, data: bytes):
        version = np.frombuffer(data[: 4 * VERSION_NUMBERS], np.int32)
        if len(version) < VERSION_NUMBERS:
            raise ValueError("it is too short for a header")
        # The count of images seen has 64 bits since 0.2.
        header = 4 * VERSION_NUMBERS + (8 if version[0] * 10 + version[1] >= 2 else 4)
        body = data[header:]
        self.values = np.frombuffer(body[: len(body) // 4 * 4], np.float32)
        self.taken = 0

    def take(self, *shape: int) -> Tensor:
        """The next numbers.

        Raises:
            ValueError: there are not so many.
        """
        count = int(np.prod(shape))
        part = self.values[self.taken : self.taken + count]
        self.taken += count
        if len(part) < count:
            raise ValueError(f"it is cut short: {len(self.values)} numbers, {self.taken} or more")
        return torch.from_numpy(part.reshape(shape).copy())


class Convolution(nn.Module):
    """A convolution with its bias and, where `leaky`, the rectifier."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, padding: int, leaky: bool):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.stride, self.padding, self.leaky = stride, padding, leaky

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, H, W] -> [N, out, H', W']."""
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return F.leaky_relu_(y, SLOPE) if self.leaky else y


class Route(nn.Module):
    """Outputs of earlier layers, side by side; of several groups of channels, one.

    Args:
        sources: positions of those layers.
        group, groups: which part of the channels, of how many equal ones.
    """

    def __init__(self, sources: list[int], group: int, groups: int):
        super().__init__()
        self.sources, self.group, self.groups = sources, group, groups

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """The sources' [N, C_i, H, W] -> [N, sum(C_i) / groups, H, W]."""
        x = parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)
        return x.chunk(self.groups, dim=1)[self.group]


class Boxes(nn.Module):
    """Confidences of the boxes that a convolution's channels describe (a `[yolo]` block)."""

    def __init__(self, classes: int):
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """[N, anchors * (5 + classes), H, W] -> [N, H * W * anchors, classes] in [0, 1].

        Objectness times the probability of the class, cell by cell.
        """
        count, _, height, width = x.shape
        boxes = x.view(count, -1, BOX + self.classes, height, width).permute(0, 3, 4, 1, 2)
        confidences = boxes[..., BOX - 1 : BOX].sigmoid() * boxes[..., BOX:].sigmoid()
        return confidences.reshape(count, -1, self.classes)


class Darknet(nn.Module):
    """The network that a cfg describes, for inference.

    Args:
        blocks: of the cfg; the first one is `[net]`.
        numbers: of the weights file; all of them must be used.

    Raises:
        ValueError: the description or the weights are of another kind of network, or do not fit
            each other; says where.
    """

    def __init__(self, blocks: list[Block], numbers: Numbers):
        super().__init__()
        if not blocks or blocks[0].kind not in ("net", "network"):
            raise ValueError("it does not begin with [net]")
        self.layers = nn.ModuleList()
        channels: list[int] = []  # of each layer's output
        current = blocks[0].number("channels", 3)
        for block in blocks[1:]:
            layer, current = _layer(block, current, channels, numbers)
            self.layers.append(layer)
            channels.append(current)
        if numbers.taken != len(numbers.values):
            raise ValueError(
                f"it describes {numbers.taken} weights, and there are {len(numbers.values)}"
            )
        if not any(isinstance(layer, Boxes) for layer in self.layers):
            raise ValueError("it has no [yolo]")
        routes = [layer for layer in self.layers if isinstance(layer, Route)]
        self.recalled = {source for route in routes for source in route.sources}

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [0, 1] -> confidences [N, boxes, classes] in [0, 1]."""
        kept: dict[int, Tensor] = {}
        found = []
        for index, layer in enumerate(self.layers):
            if isinstance(layer, Boxes):
                found.append(layer(x))
            elif isinstance(layer, Route):
                x = layer([kept[source] for source in layer.sources])
            else:
                x = layer(x)
            if index in self.recalled:
                kept[index] = x
        return torch.cat(found, dim=1)


def load_darknet(cfg: Path, weights: Path) -> Darknet:
    """The network of a pair of files, ready for inference on the CPU.

    Raises:
        UserError: a file is missing or damaged, or has layers that are unknown here.
    """
    try:
        return Darknet(read_cfg(cfg.read_text(encoding="utf-8")), Numbers(weights.read_bytes()))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {cfg} with {weights}: {error}") from error


def _layer(
    block: Block, current: int, channels: list[int], numbers: Numbers
) -> tuple[nn.Module, int]:
    """The layer of a block, and the channels that it makes of `current` ones."""
    if block.kind == "convolutional":
        return _convolution(block, current, numbers)
    if block.kind == "route":
        here, groups = len(channels), block.number("groups", 1)
        sources = [here + n if n < 0 else n for n in block.numbers("layers")]
        group = block.number("group_id", 0)
        if not all(0 <= source < here for source in sources) or not 0 <= group < groups:
            raise ValueError(f"line {block.line}: [route] names what is not there")
        return Route(sources, group, groups), sum(channels[n] for n in sources) // groups
    if block.kind == "maxpool" and block.number("size") == block.number("stride"):
        return nn.MaxPool2d(block.number("size")), current
    if block.kind == "upsample":
        return nn.Upsample(scale_factor=block.number("stride")), current
    if block.kind == "yolo":
        classes = block.number("classes")
        if current % (BOX + classes):
            raise ValueError(f"line {block.line}: {current} channels are no boxes of {classes}")
        return Boxes(classes), current
    raise ValueError(f"line {block.line}: a [{block.kind}] such as YOLOv4-tiny does not have")


def _convolution(block: Block, current: int, numbers: Numbers) -> tuple[nn.Module, int]:
    filters, size = block.number("filters"), block.number("size")
    activation = block.settings.get("activation", "")
    if activation not in ("leaky", "linear"):
        raise ValueError(f"line {block.line}: activation={activation}, not leaky or linear")
    bias = numbers.take(filters)
    normalised = block.number("batch_normalize", 0)
    if normalised:
        scale, mean, variance = (numbers.take(filters) for _ in range(3))
        scale = scale / (variance + EPSILON).sqrt()
        bias = bias - mean * scale
    weight = numbers.take(filters, current, size, size)
    if normalised:
        weight = weight * scale[:, None, None, None]
    padding = size // 2 if block.number("pad", 0) else block.number("padding", 0)
    stride = block.number("stride", 1)
    return Convolution(weight, bias, stride, padding, activation == "leaky"), filters
