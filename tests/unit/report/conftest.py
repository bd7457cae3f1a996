import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lookalike.data.scores import write_scores

METRICS: dict[str, dict[str, Any]] = {
    "baseline": {
        "rank_1": 0.8931,
        "rank_5": 0.95,
        "rank_10": 0.97,
        "mAP": 0.7426,
        "mAP_trapezoidal": 0.7379,
        "mINP": 0.4,
        "queries": 3368.0,
        "invalid_queries": 0.0,
        "per_camera": {"2": {"rank_1": 0.8}, "10": {"rank_1": 0.9}},
        "validation": {"rank_1": 0.7, "mAP": 0.6},
        "train_images": 12936,
        "train_persons": 751,
        "synthetic_images": 0,
    },
    "persons": {
        "rank_1": 0.9035,
        "rank_5": 0.96,
        "rank_10": 0.98,
        "mAP": 0.768,
        "mAP_trapezoidal": 0.763,
        "mINP": 0.41,
        "per_camera": {"2": {"rank_1": 0.85}},
        "validation": {"rank_1": 0.75, "mAP": 0.65},
        "train_images": 20000,
        "train_persons": 1031,
        "synthetic_images": 7064,
    },
}
VERDICT: dict[str, Any] = {
    "winner": "persons",
    "model": "lookalike-reid",
    "version": 3,
    "promoted": False,
    "champion": 2,
    "gates": [
        {"name": "rank_1", "value": 0.9035, "bound": 0.2, "passed": True, "reason": "at least"},
        {"name": "pass_rate", "value": 1.0, "bound": [0.2, 0.99], "passed": False, "reason": "<b>"},
    ],
    "reason": "failed: pass_rate",
}


@pytest.fixture
def metrics() -> dict[str, dict[str, Any]]:
    """Two arms' `metrics.json`."""
    return METRICS


@pytest.fixture
def verdict() -> dict[str, Any]:
    """What `register` wrote."""
    return VERDICT


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """What the stages would have written."""
    folder = tmp_path / "artifacts"
    for arm, metrics in METRICS.items():
        target = folder / "evaluate" / arm
        target.mkdir(parents=True)
        (target / "metrics.json").write_text(json.dumps(metrics))
        pixels = np.full((8, 8, 3), len(arm), np.uint8)
        Image.fromarray(pixels).save(target / "ranked.jpg")
    (folder / "train_reid" / "persons").mkdir(parents=True)
    history = "images,loss,validation_mAP\n0,3.5,\n800,1.5,0.5\n"
    (folder / "train_reid" / "persons" / "history.csv").write_text(history)
    docs = folder / "validate" / "docs"
    docs.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(docs / "logo.png")
    for kind, reasons in {"persons": ["", "", "ssim", "detector"], "variations": [""]}.items():
        target = folder / "filter" / kind
        steps = ("detector", "identity", "ssim", "redness")  # one that nobody has heard of
        names = [f"{kind}-{n}" for n in range(len(reasons))]
        scores = {"image_id": names, "reason": reasons, **dict.fromkeys(steps, np.nan)}
        write_scores(pd.DataFrame(scores), target / "scores.parquet")
        summary = {"steps": {step: {"threshold": 0.5} for step in steps}}
        (target / "summary.json").write_text(json.dumps(summary))
        lines = [f"{step},{bound},{bound}" for step in steps for bound in (0.1, 0.9)]
        (target / "rejection.csv").write_text("\n".join(["step,threshold,rejected", *lines]))
    (folder / "train_gan").mkdir()
    (folder / "train_gan" / "history.csv").write_text("images,frechet_reid\n0,3.5\n800,1.5\n")
    (folder / "register").mkdir()
    (folder / "register" / "verdict.json").write_text(json.dumps(VERDICT))
    return folder
