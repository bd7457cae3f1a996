"""The data sets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lookalike.config.base import Count, Positive, Section

Source = Literal["rendered", "market1501", "dukemtmc", "msmt17", "csv", "folders"]
DATA_SET_NAME = r"[a-z0-9][a-z0-9-]*"  # of a data set beside the main one, which is "own"


class RenderedConfig(Section):
    """The population that `lookalike data render` draws when no real data is at hand."""

    seed: Count = 1
    train_persons: Positive = 120
    test_persons: Positive = 50
    images_per_person: Annotated[Positive, Field(ge=4)] = 10  # mean over persons
    distractors: Count = 60
    junk: Count = 60


class DataConfig(Section):
    """Where the images come from and which persons are held out for choosing the winner."""

    source: Source = "rendered"  # the layout of data/; see docs/datasets.md
    # Whether a published data set must have its published counts and crop size. false: other data
    # in the same layout. Sources without published figures do not look at it.
    as_published: bool = True
    # Further data sets by name: their train images lie in data/others/NAME, for arms that say so.
    others: dict[Annotated[str, Field(pattern=f"^{DATA_SET_NAME}$")], Source] = Field(
        default_factory=dict
    )
    rendered: RenderedConfig | None = RenderedConfig()
    validation_persons: Positive = 16  # train identities held out; never test ones
    # What `validate` does with a bad image: stop, or leave it out and say so.
    on_problem: Literal["fail", "quarantine"] = "fail"
