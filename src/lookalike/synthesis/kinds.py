"""Every kind of generated images, by its name in the parameters."""

from __future__ import annotations

from lookalike.config import Kind
from lookalike.synthesis.kind import ImageKind
from lookalike.synthesis.persons import PERSONS
from lookalike.synthesis.variations import VARIATIONS

IMAGE_KINDS: dict[Kind, ImageKind] = {"persons": PERSONS, "variations": VARIATIONS}
