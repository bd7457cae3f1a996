"""YOLOv4-tiny (Bochkovskiy et al. 2020) with random weights, as a pair of Darknet files.

For tests, benchmarks and rehearsals: the network has the published shape, and finds nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

ANCHORS = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"
BOXES = 3  # of each cell of an output


def write_untrained(
    folder: Path, *, classes: int = 80, divisor: int = 1, seed: int = 0
) -> tuple[Path, Path]:
    """Write `yolov4-tiny.cfg` and `yolov4-tiny.weights`; the same bytes for a seed.

    Args:
        folder: where to.
        classes: that it tells apart; COCO's are 80.
        divisor: of the published numbers of channels.
        seed: of the weights.

    Returns:
        The two paths.
    """
    writer = _Writer(classes, divisor, np.random.default_rng(seed))
    writer.convolution(32, 3, 2)
    writer.convolution(64, 3, 2)
    for filters in (64, 128, 256):
        writer.stage(filters)
    writer.convolution(512, 3)
    writer.convolution(256, 1)
    writer.convolution(512, 3)
    writer.boxes("3,4,5")
    writer.route(-4)
    writer.convolution(128, 1)
    writer.add("[upsample]\nstride=2", writer.channels)
    writer.route(-1, 23)
    writer.convolution(256, 3)
    writer.boxes("1,2,3")

    cfg, weights = folder / "yolov4-tiny.cfg", folder / "yolov4-tiny.weights"
    cfg.write_text("\n\n".join(writer.blocks) + "\n")
    header = np.array([0, 2, 5], np.int32).tobytes() + np.int64(0).tobytes()
    weights.write_bytes(header + np.concatenate(writer.numbers).astype(np.float32).tobytes())
    return cfg, weights


class _Writer:
    """Blocks of a cfg and the numbers of its weights, layer by layer."""

    def __init__(self, classes: int, divisor: int, rng: np.random.Generator):
        self.classes, self.divisor, self.rng = classes, divisor, rng
        self.blocks = ["[net]\nwidth=416\nheight=416\nchannels=3"]
        self.numbers: list[np.ndarray] = []
        self.channels, self.outputs = 3, list[int]()  # now, and of every layer so far

    def add(self, block: str, channels: int) -> None:
        self.blocks.append(block)
        self.outputs.append(channels)
        self.channels = channels

    def convolution(self, filters: int, size: int, stride: int = 1) -> None:
        """With batch normalisation and a leaky rectifier."""
        filters //= self.divisor
        fan_in = self.channels * size * size
        self.numbers += [self.rng.normal(0, 0.1, filters), self.rng.uniform(0.8, 1.2, filters)]
        self.numbers += [self.rng.normal(0, 0.1, filters), self.rng.uniform(0.8, 1.2, filters)]
        self.numbers += [self.rng.normal(0, (2 / fan_in) ** 0.5, filters * fan_in)]
        shape = f"filters={filters}\nsize={size}\nstride={stride}\npad=1"
        self.add(f"[convolutional]\nbatch_normalize=1\n{shape}\nactivation=leaky", filters)

    def route(self, *layers: int, half: bool = False) -> None:
        """The outputs of layers, or the second half of their channels."""
        block = f"[route]\nlayers={','.join(map(str, layers))}"
        channels = sum(self.outputs[layer] for layer in layers)
        if half:
            block, channels = f"{block}\ngroups=2\ngroup_id=1", channels // 2
        self.add(block, channels)

    def stage(self, filters: int) -> None:
        """A cross-stage partial block (Wang et al. 2020), then half the resolution."""
        self.convolution(filters, 3)
        self.route(-1, half=True)
        self.convolution(filters // 2, 3)
        self.convolution(filters // 2, 3)
        self.route(-1, -2)
        self.convolution(filters, 1)
        self.route(-6, -1)
        self.add("[maxpool]\nsize=2\nstride=2", self.channels)

    def boxes(self, mask: str) -> None:
        """An output: a linear convolution to the numbers of every box, and their block."""
        filters = BOXES * (5 + self.classes)
        count = filters * self.channels
        self.numbers += [np.zeros(filters), self.rng.normal(0, 0.5 / self.channels**0.5, count)]
        self.add(
            f"[convolutional]\nsize=1\nstride=1\npad=1\nfilters={filters}\nactivation=linear",
            filters,
        )
        boxes = f"mask={mask}\nanchors={ANCHORS}\nclasses={self.classes}\nnum=6\nscale_x_y=1.05"
        self.add(f"[yolo]\n{boxes}", filters)
