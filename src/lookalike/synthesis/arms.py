"""Which real images an augmentation arm trains on, and which generated ones join them."""

from __future__ import annotations

import pandas as pd

from lookalike.config import ArmConfig


def real_rows(manifest: pd.DataFrame, arm: ArmConfig) -> pd.DataFrame:
    """The train rows of the data sets that the arm names, in the manifest's order.

    Args:
        manifest: accepted rows; `own` are those of split train, those of another data set have
            the split other and a `person_id` that begins with its name and a slash.
        arm: says which.
    """
    wanted = (manifest["split"] == "train") & ("own" in arm.real)
    others = manifest["person_id"].str.split("/", n=1).str[0].isin(arm.real)
    return manifest[wanted | (others & (manifest["split"] == "other"))]


def select(kept: pd.DataFrame, arm: ArmConfig) -> pd.DataFrame:
    """The rows that the filters have kept and the arm's limits admit.

    Persons and images are taken in the order of their ids, so a larger limit only adds. The label
    is the row's `person_id`: a new class for new persons, the source's class for variations.
    """
    kept = kept.sort_values(["person_id", "image_id"])
    if arm.max_persons is not None:
        persons = kept["person_id"].drop_duplicates().head(arm.max_persons)
        kept = kept[kept["person_id"].isin(persons)]
    if arm.max_images_per_person is not None:
        kept = kept.groupby("person_id", sort=False).head(arm.max_images_per_person)
    return kept.reset_index(drop=True)
