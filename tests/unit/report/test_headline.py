"""The few figures that pipelines are compared by."""

import json
from pathlib import Path

import pandas as pd

from lookalike.artifacts import Artifacts
from lookalike.report.headline import (
    arm_headline,
    filter_headline,
    generator_headline,
    read_headline,
    view,
    write_headline,
)


def test_arms_stand_side_by_side_and_the_view_shows_them(tmp_path: Path) -> None:
    history = pd.DataFrame({"images": [0, 8], "precision": [0.1, 0.2], "frechet_reid": [3.0, 2.0]})
    parts = {"train_gan": generator_headline(history)}
    for number, arm in enumerate(("baseline", "mine")):
        metrics = {"rank_1": number / 4, "mAP": 0.5, "rank_5": 1.0, "per_camera": {"1": {}}}
        parts[f"evaluate/{arm}"] = arm_headline(metrics, {"mAP": 0.75, "rank_1": 0.0})
    for kind in ("persons", "variations"):
        parts[f"filter/{kind}"] = filter_headline({"pass_rate": 0.4, "steps": {"ssim": {}}})
    for folder, values in parts.items():
        (tmp_path / folder).mkdir(parents=True)
        write_headline(values, tmp_path / folder / "headline.json")

    found = read_headline(Artifacts(tmp_path), ["baseline", "mine"])
    assert found == {
        "frechet_reid": 2.0,
        "rank_1/baseline": 0.0,
        "mAP/baseline": 0.5,
        "validation_mAP/baseline": 0.75,
        "rank_1/mine": 0.25,
        "mAP/mine": 0.5,
        "validation_mAP/mine": 0.75,
        "pass_rate/persons": 0.4,
        "pass_rate/variations": 0.4,
    }
    columns = json.loads(view(["baseline", "mine"]))["selectedColumns"]
    shown = {column.removeprefix("metrics.").strip("`") for column in columns}
    assert shown - {"fid"} < set(found)
