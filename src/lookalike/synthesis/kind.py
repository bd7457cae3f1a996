"""A kind of generated images: an object that says how they are drawn and what they are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lookalike.artifacts import Artifacts
from lookalike.config import GenerateConfig
from lookalike.parts import part
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.rendering import Destination


@dataclass(frozen=True)
class Order:
    """What is to be drawn into which archive, and from what.

    Attributes:
        generator: that draws, in evaluation mode.
        config: the size of crops, and the kind's own section.
        artifacts: what earlier stages have made.
        to: the archive.
    """

    generator: Generator
    config: GenerateConfig
    artifacts: Artifacts
    to: Destination


@dataclass(frozen=True)
class ImageKind:
    """A kind of generated images: `KIND` of the module in `kinds/` that is called like its section.

    The section is a field of `GenerateConfig`.

    Attributes:
        generate: writes the archive, on every process, and returns the manifest.
        reads: files of earlier stages that it reads besides the generator.
        card: what model cards call them, with {data} for the data set of the generator and {taught}
            for what a label makes of them.
        new_classes: whether a label that gives classes makes each person a class of its own.
    """

    generate: Callable[[Order], pd.DataFrame]
    reads: Callable[[Artifacts], list[Path]]
    card: str
    new_classes: bool = False


def image_kind(name: str) -> ImageKind:
    """The kind that `generate` has a section for."""
    kind: ImageKind = part("lookalike.synthesis.kinds", name).KIND
    return kind
