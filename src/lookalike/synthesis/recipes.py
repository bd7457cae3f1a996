"""How one generated image is made, in a form that fits into a manifest's row.

With the generator (and, for variations, the encoder and the source image) a row is all that is
needed to make its image again: `PlannedImage.from_row` and `persons.person_latents` or
`from_images.latents_from_images`, then `rendering.render`.

A recipe reads `base:psi=0.8`, `mix:medium:psi=0.8:with=17`, `interpolate:0.25:psi=0.8:with=17` or
`cross:structure:detail:around:with=0002_c1s1_000451_03`. `with` is the other latent: a seed, or the
image_id of a real image. `detail` keeps what the generator leaves out of the source image, and with
`around` the person too: what changes is the place. `psi` truncates latents that come from seeds and
is left out where there is none. `class=NAME` before `with` is the class of a conditional generator
that these are drawn from; without it each seed draws its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args
from urllib.parse import quote, unquote

from torch import Tensor

from lookalike.config import Group
from lookalike.synthesis.latents import interpolate, style_mix

RecipeKind = Literal["base", "mix", "interpolate", "cross"]
PATTERN = re.compile(
    r"(?P<kind>base|mix|interpolate|cross)"
    rf"(?::(?P<group>{'|'.join(get_args(Group))}))?(?::(?P<amount>\d[\d.e-]*))?"
    r"(?P<detail>:detail)?(?P<around>:around)?"
    r"(?::psi=(?P<psi>\d[\d.e-]*))?(?::class=(?P<label>[^:]+))?(?::with=(?P<partner>.+))?"
)


@dataclass(frozen=True)
class Recipe:
    """What is done to the base latent: nothing, a mix of styles, or a step towards another.

    A cross is a mix with the inversion of a real image, where `mix` takes a seed's styles.
    """

    kind: RecipeKind
    group: Group | None = None
    """Mix and cross: which styles come from the partner."""
    amount: float | None = None
    """Interpolate: how far towards the partner, in [0, 1]."""
    psi: float | None = None
    """Truncation of the latents that come from seeds."""
    partner: str = ""
    """The other latent: a seed, or an image_id."""
    label: str = ""
    """The class of the latents that come from seeds; "": each seed draws its own."""
    detail: bool = False
    """Whether what the generator leaves out of the source image is kept; see `rendering.render`."""
    around: bool = False
    """With detail: whether only what lies around the person changes."""

    def __str__(self) -> str:
        parts: list[str] = [self.kind]
        parts += [self.group] if self.group else []
        parts += [str(self.amount)] if self.amount is not None else []
        parts += ["detail"] if self.detail else []
        parts += ["around"] if self.around else []
        parts += [f"psi={self.psi}"] if self.psi is not None else []
        # Quoted: a person may be called anything, and colons and "with=" mean something here.
        parts += [f"class={quote(self.label, safe='')}"] if self.label else []
        parts += [f"with={self.partner}"] if self.partner else []
        return ":".join(parts)

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """The inverse of `str`.

        Raises:
            ValueError: the text is no recipe.
        """
        match = PATTERN.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is not a recipe such as mix:medium:psi=0.8:with=17")
        found = match.groupdict()
        recipe = cls(
            kind=cast("RecipeKind", found["kind"]),
            group=cast("Group | None", found["group"]),
            amount=float(found["amount"]) if found["amount"] else None,
            psi=float(found["psi"]) if found["psi"] else None,
            partner=found["partner"] or "",
            label=unquote(found["label"] or ""),
            detail=bool(found["detail"]),
            around=bool(found["around"]),
        )
        complete = {
            "base": not recipe.partner,
            "mix": recipe.partner and recipe.group,
            "cross": recipe.partner and recipe.group,
            "interpolate": recipe.partner and recipe.amount is not None,
        }
        if not complete[recipe.kind]:
            raise ValueError(f"recipe {text!r} is incomplete")
        return recipe

    def apply(self, base: Tensor, partner: Tensor) -> Tensor:
        """The latent [num_ws, w_dim]; `partner` is not looked at by a base recipe."""
        if self.kind in ("mix", "cross"):
            assert self.group is not None
            return style_mix(base, partner, self.group)
        if self.kind == "interpolate":
            assert self.amount is not None
            return interpolate(base, partner, self.amount)
        return base


@dataclass(frozen=True)
class PlannedImage:
    """One image to generate."""

    image_id: str
    person_id: str
    recipe: Recipe
    seed: int = -1
    """The seed that the recipe starts from (persons) or mixes in (variations); -1 for none."""
    source_image: str = ""
    """Variations and dressed persons: the image_id whose inversion is the base."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> PlannedImage:
        """Read the plan back from a manifest's row."""
        return cls(
            image_id=str(row["image_id"]),
            person_id=str(row["person_id"]),
            recipe=Recipe.parse(str(row["recipe"])),
            seed=int(row["seed"]),
            source_image=str(row["source_image"]),
        )

    @property
    def member(self) -> str:
        """File name in an archive or folder."""
        return f"{self.image_id}.jpg"
