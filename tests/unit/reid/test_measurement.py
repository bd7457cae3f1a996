"""An evaluation survives a round trip, and two compare where data and settings are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lookalike.config import Config
from lookalike.data.manifest import new_manifest
from lookalike.errors import UserError
from lookalike.reid.measurement import Measurement, evaluation_fingerprint, per_query_frame

MANIFEST = new_manifest(
    [
        {
            "image_id": image,
            "person_id": person,
            "camera_id": 1,
            "split": split,
            "origin": "real",
            "member": f"{image}.jpg",
            "width": 64,
            "height": 128,
            "sha256": f"sha-{image}",
        }
        for image, person, split in (
            ("q1", "0003", "query"),
            ("q2", "0004", "query"),
            ("g1", "0003", "gallery"),
            ("d1", "0000", "distractor"),
        )
    ]
)


def test_fingerprint_follows_data_and_settings_only() -> None:
    config = Config()

    def changed_to(section: str, **values: object) -> str:
        part = getattr(config, section).model_copy(update=values)
        return evaluation_fingerprint(MANIFEST, config.model_copy(update={section: part}))

    mark = evaluation_fingerprint(MANIFEST, config)
    assert evaluation_fingerprint(MANIFEST.iloc[::-1], config) == mark
    for same in ({"batch_size": 8}, {"rerank": True}, {"ranks": (1, 2, 3)}):
        assert changed_to("evaluate", **same) == mark
    assert changed_to("evaluate", flip=True) != mark
    # Images are decoded at the network's size, which is the model's own.
    assert changed_to("generate", height=256) == changed_to("reid", height=256) == mark
    changed = MANIFEST.assign(sha256=MANIFEST["sha256"].replace("sha-g1", "other"))
    assert evaluation_fingerprint(changed, config) != mark


def test_round_trip(tmp_path: Path) -> None:
    queries = MANIFEST[MANIFEST["split"] == "query"]
    frame = per_query_frame(queries, np.array([np.nan, 0.5]), np.array([-1, 2]))
    assert frame["rank_1"].isna().tolist() == [True, False]
    assert frame["rank_1"].iloc[1] == 0
    measured = Measurement("abc", {"rank_1": 0.0, "mAP": 0.5}, frame)
    measured.write(tmp_path)
    again = Measurement.read(tmp_path)
    assert (again.fingerprint, again.metrics) == ("abc", {"rank_1": 0.0, "mAP": 0.5})
    pd.testing.assert_frame_equal(again.per_query, frame)
    assert again.rank_1_by_camera == {"1": 0.0}


def test_no_evaluation_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no evaluation"):
        Measurement.read(tmp_path)
