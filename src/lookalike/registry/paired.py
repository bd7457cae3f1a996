"""Is one model better than another? A paired bootstrap over persons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

RESAMPLES = 2000
CONFIDENCE = 0.95  # one-sided
BOOTSTRAP_SEED = 20


def lower_bound(model: pd.DataFrame, other: pd.DataFrame, column: str) -> float:
    """Lower confidence bound of how much better a model is than another one, mean per query.

    Args:
        model, other: as `evidence.per_query_frame` gives them, of the same queries.
        column: `ap` or `rank_1`.
    """
    pairs = paired(model, other, column)
    return bootstrap_lower_bound(pairs["difference"], pairs["person_id"])


def paired(model: pd.DataFrame, other: pd.DataFrame, column: str) -> pd.DataFrame:
    """`person_id` and `difference` (model minus other) per query; NaN in neither.

    Queries that are invalid (no match in the gallery) are so for both models and drop out. A query
    that only one of them has stays as NaN, so that the bound becomes NaN and the gate fails.
    """
    both = model.merge(
        other[["image_id", "ap", "rank_1"]], on="image_id", how="outer", suffixes=("", "_old")
    )
    both["difference"] = both[column] - both[f"{column}_old"]
    invalid = both[column].isna() & both[f"{column}_old"].isna()
    return both.loc[~invalid, ["person_id", "difference"]]


def bootstrap_lower_bound(
    differences: Sequence[float] | pd.Series[float], persons: Sequence[str] | pd.Series[str]
) -> float:
    """Lower confidence bound of the mean difference per query, persons resampled.

    Queries of one person are alike, so persons are drawn, each with all its queries (the cluster
    bootstrap; Davison and Hinkley 1997, 3.8). Seeded: the same numbers give the same bound.

    Returns:
        The (1 - `CONFIDENCE`) quantile of `RESAMPLES` resampled means; NaN for no queries or NaN.
    """
    frame = pd.DataFrame({"d": np.asarray(differences, float), "p": np.asarray(persons, object)})
    if frame.empty or frame["d"].isna().any():
        return float("nan")
    groups = frame.groupby("p", sort=True)["d"]
    sums, counts = groups.sum().to_numpy(), groups.count().to_numpy()
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    # How often each person is drawn: [RESAMPLES, persons].
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    means = (drawn @ sums) / (drawn @ counts)
    return float(np.quantile(means, 1 - CONFIDENCE))
