"""The worked examples of docs/extend.md, run as they stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pipelines import code

from lookalike.artifacts import Artifacts
from lookalike.config import (
    KINDS,
    ArmPolicy,
    Config,
    FilterConfig,
    GenerateConfig,
    ReidLossConfig,
)
from lookalike.data.loading import Images
from lookalike.data.manifest import new_manifest
from lookalike.filtering.cascade import FILTERS, filter_manifest
from lookalike.filtering.detectors import DETECTORS, load_detector
from lookalike.filtering.filter import Crops
from lookalike.reid.label_policies import LABELS
from lookalike.reid.targets import NONE, Targets
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.kind import Order
from lookalike.synthesis.kinds import IMAGE_KINDS
from lookalike.synthesis.rendering import Destination
from lookalike.training.session import Session

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/extend.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    found = re.search(rf"```python {name}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, name
    return found[1]


def run(name: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(compile(example(name), f"docs/extend.md: {name}", "exec"), space)
    return space


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def yaml_of(title: str) -> Any:
    found = re.search(r"```yaml\n(.*?)```", section(title), re.DOTALL)
    assert found is not None, title
    return yaml.safe_load(found[1])


def crops(images: Images, split: str) -> Crops:
    """Five images each of as many persons as there are."""
    rows = [
        {
            "image_id": f"{split}{i}",
            "person_id": f"{i // 5}",
            "camera_id": 1,
            "split": split,
            "origin": "real",
            "member": f"{split}{i}.jpg",
            "width": 16,
            "height": 32,
            "sha256": "0" * 64,
        }
        for i in range(len(images))
    ]
    angles = np.arange(len(images)) // 5
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return Crops(new_manifest(rows), images, embeddings)


def test_an_arm() -> None:
    arms = Config().model_dump()["arms"] | yaml_of("An arm")
    arm = Config.model_validate({"arms": arms}).arms["both-softly"]
    assert (arm.images, arm.policy.weight) == (("persons", "variations"), 0.5)


def test_a_filter() -> None:
    added = run("filter")["BRIGHTNESS"]
    random = np.random.default_rng(0)
    images = random.integers(100, 200, (20, 32, 16, 3), np.uint8)
    train, val = crops(images[:10], "train"), crops(images[10:], "val")
    real = Crops(
        pd.concat([train.rows, val.rows], ignore_index=True),
        images,
        np.concatenate([train.embeddings, val.embeddings]),
    )
    generated = random.integers(100, 200, (10, 32, 16, 3), np.uint8)
    generated[3] //= 4
    found = filter_manifest(
        crops(generated, "other"), real, load_detector("hog", ROOT), FilterConfig(), (added,)
    )
    assert found.scores["reason"].tolist()[3] == "brightness"
    assert found.summary["steps"]["brightness"]["passed"] >= 8
    assert added not in FILTERS


def test_a_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(DETECTORS) == set(get_args(FilterConfig.model_fields["detector"].annotation))
    monkeypatch.setitem(DETECTORS, "edges", DETECTORS["hog"])  # taken out again afterwards
    run("detector")
    flat = np.zeros((1, 32, 16, 3), np.uint8)
    striped = flat.copy()
    striped[:, :, ::2] = 255
    low, high = load_detector("edges", ROOT).score(np.concatenate([flat, striped]))
    assert low < high


def test_a_loss() -> None:
    losses = run("loss")["WithLength"](ReidLossConfig(), 3, 4)
    terms = losses(torch.randn(5, 3), torch.ones(5, 4), torch.tensor([0, 1, 2, 0, 1]))
    assert set(terms) == {"cross_entropy", "length"}
    assert terms["length"].item() == pytest.approx(0.01)


def test_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LABELS, "halves", LABELS["uniform"])  # taken out again afterwards
    run("label")
    policy = ArmPolicy.model_construct(label="halves")
    targets = Targets(["a", "b", "new"], np.array([False, False, True]), policy)
    assert targets.labels.tolist() == [0, 1, NONE]
    rows = targets.distributions(np.array([2]))
    assert rows is not None and rows.tolist() == [[0.75, 0.25]]


def test_a_kind(tmp_path: Path) -> None:
    kind = run("kind")["STRANGERS"]
    torch.manual_seed(0)
    config = GenerateConfig(height=32, width=16, batch_size=50)
    design = GeneratorConfig(
        32, 16, z_dim=8, w_dim=8, channel_base=64, channel_max=8, num_layers=4, margin=2
    )
    to = Destination(Path("images.zip"), tmp_path, Session(1), "digest")
    order = Order(Generator(design).eval(), config, Artifacts(), to)
    manifest = kind.generate(order)
    assert (len(manifest), manifest["person_id"].nunique()) == (100, 100)
    assert set(manifest["origin"]) == {"person"} and (tmp_path / "images.zip").is_file()
    assert kind.reads(Artifacts()) == []
    assert set(IMAGE_KINDS) == set(KINDS) <= set(GenerateConfig.model_fields)
    assert set(yaml_of("A kind of generated images")) == {"strangers"}
    kinds = yaml.safe_load((ROOT / "dvc.yaml").read_text())["vars"][0]["kinds"]
    assert list(kinds) == list(KINDS)


def test_a_layout(tmp_path: Path) -> None:
    for name in ("train/ann_1_0.jpg", "train/ann_2_1.jpg", "query/bob_1_0.jpg", "train/list.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, problems = run("layout")["UNDERSCORED"].scan(tmp_path)
    assert [(image.split, image.person, image.camera) for image in found] == [
        ("query", "bob", 1),
        ("train", "ann", 1),
        ("train", "ann", 2),
    ]
    assert problems == []


def test_a_stage(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "pipelines/count.py").write_text(example("stage"))
    files = code.files_by_stage(tmp_path)["count"]
    assert {"pipelines/count.py", "src/lookalike/data/manifest.py"} <= set(files)
    assert not any("reid" in file for file in files)
    spec = yaml_of("A stage")["count"]
    assert spec["cmd"] == "python -m pipelines.count" and "artifacts/code/count" in spec["deps"]
    assert "counts.json" in example("stage")
    assert "artifacts/count/counts.json" in spec["outs"]


def test_every_file_that_is_to_be_changed_is_there() -> None:
    made = {
        "filtering/brightness.py",
        "data/layouts/underscored.py",
        "pipelines/count.py",
        "synthesis/strangers.py",
        "pipelines/NAME.py",
    }
    for name in set(re.findall(r"`((?:[\w/]+/)?\w+\.(?:py|yaml))`", PAGE)):
        if not any(name.endswith(new) for new in made):
            places = (ROOT / name, ROOT / "src/lookalike" / name)
            assert any(place.is_file() for place in places), name
