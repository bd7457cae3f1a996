"""Trained on one data set and evaluated on another, as an arm with `real` of others is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lookalike.config import ArmConfig, Config, ReidConfig
from lookalike.data.loading import load_images
from lookalike.data.manifest import test_protocol as protocol
from lookalike.data.population import render_population
from lookalike.data.prepare import prepare_manifest
from lookalike.registry.evidence import leaked
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import measure
from lookalike.reid.trainer import train_reid
from lookalike.synthesis.arms import real_rows
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.session import Session


def test_an_arm_of_another_data_set_is_measured_on_the_own_test_persons(
    config: ReidConfig, tmp_path: Path
) -> None:
    for seed, folder in ((1, tmp_path / "data"), (2, tmp_path / "data" / "others" / "town")):
        render_population(
            folder,
            seed=seed,
            train_persons=3,
            test_persons=3,
            images_per_person=5,
            distractors=1,
            junk=1,
            workers=1,
            progress=False,
        )
    parameters = Config()
    data = parameters.data.model_copy(
        update={"validation_persons": 1, "others": {"town": "market1501"}}
    )
    manifest, problems = prepare_manifest(tmp_path / "data", tmp_path, data, seed=1)
    assert problems.empty
    rows = real_rows(manifest, ArmConfig(images=("none",), real=("town",)))
    assert rows["person_id"].nunique() == 3 and rows["person_id"].str.startswith("town/").all()

    model, history = train_reid(
        config.model_copy(update={"epochs": 2}),
        load_images(rows, tmp_path, config.height, config.width),
        rows["person_id"].tolist(),
        session=Session(1),
        resume=ResumeState(tmp_path / "resume", "train_reid", "test"),
        tracker=NullTracker(),
        initial=None,
        validate=None,
    )
    assert model.classifier.out_features == 3
    assert np.isfinite(history[-1]["loss"])
    sides = protocol(manifest)
    found = measure(Embedder(model), sides, tmp_path, parameters)
    summary = found.summary((1,))
    assert summary["queries"] == len(sides[0]) > 0 and summary["invalid_queries"] == 0
    assert 0 < summary["mAP"] <= 1
    assert not found.query.rows["person_id"].str.contains("/").any()
    assert leaked({"reid": rows}, manifest)["reid"] == ()
