"""Which generated images an augmentation arm adds to the real ones."""

from __future__ import annotations

import pandas as pd

from lookalike.config import ArmConfig


def select(filtered: pd.DataFrame, arm: ArmConfig) -> pd.DataFrame:
    """The kept rows of a filtered manifest that the arm's limits admit.

    Persons and images are taken in the order of their ids, so a larger limit only adds. The label
    is the row's `person_id`: a new class for new persons, the source's class for variations.
    """
    kept = filtered[filtered["verdict"] == "kept"].sort_values(["person_id", "image_id"])
    if arm.max_persons is not None:
        persons = kept["person_id"].drop_duplicates().head(arm.max_persons)
        kept = kept[kept["person_id"].isin(persons)]
    if arm.max_images_per_person is not None:
        kept = kept.groupby("person_id", sort=False).head(arm.max_images_per_person)
    return kept.reset_index(drop=True)
