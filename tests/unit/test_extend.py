"""The worked examples of docs/extend.md, run as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pipelines import code

from lookalike.config import ArmPolicy, Config, FilterConfig, ReidLossConfig
from lookalike.data.loading import Images
from lookalike.data.manifest import new_manifest
from lookalike.filtering.cascade import FILTERS, filter_manifest
from lookalike.filtering.detector import load_detector
from lookalike.filtering.filter import Crops
from lookalike.reid.label_policies import LABELS
from lookalike.reid.targets import NONE, Targets

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


def counted(what: str) -> int:
    """How many files the page says that it takes to add this."""
    found = re.search(rf"^\| a {what} \| (\d)", PAGE, re.MULTILINE)
    assert found is not None, what
    return int(found[1])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's code, to add something to."""
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for name in ("src", "pipelines"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    return tmp_path


def touched(copy: Path) -> set[str]:
    """The files of a copy that are not as they were."""
    files = [copy / "dvc.yaml", *(copy / "src").rglob("*.py"), *(copy / "pipelines").rglob("*.py")]
    names = [file.relative_to(copy) for file in files]
    return {
        str(name)
        for name in names
        if not (ROOT / name).is_file() or (ROOT / name).read_bytes() != (copy / name).read_bytes()
    }


def insert(file: Path, before: str, text: str) -> None:
    """Put lines before the one line that begins so."""
    head, line, tail = file.read_text().partition(f"\n{before}")
    assert line and f"\n{before}" not in tail
    file.write_text(f"{head}\n{text}{line[1:]}{tail}")


def python(copy: Path, script: str) -> list[str]:
    """What a script says that the code of a copy runs, in lines."""
    start = """
from pathlib import Path
from lookalike.config import KINDS, parse_config
from lookalike.errors import UserError
try:
    pass
{}
except UserError as error:
    print(error)
"""
    indented = textwrap.indent(textwrap.dedent(script), "    ")
    run = subprocess.run(
        [sys.executable, "-c", start.format(indented)],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


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
    arm = Config.model_validate({"arms": arms}).arms["both-halved"]
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


def test_a_detector(copy: Path) -> None:
    new = "src/lookalike/filtering/detectors/edges.py"
    (copy / new).write_text(example("detector"))
    said = python(
        copy,
        """
        import numpy as np
        from lookalike.filtering.detector import load_detector
        config = parse_config({"filter": {"detector": "edges"}}, Path("params.yaml"))
        striped = np.zeros((2, 32, 16, 3), np.uint8)
        striped[1, :, ::2] = 255
        low, high = load_detector(config.filter.detector, Path()).score(striped)
        print(low < high)
        parse_config({"filter": {"detector": "edgy"}}, Path("params.yaml"))
        """,
    )
    assert said == [
        "True",
        "params.yaml: filter.detector: no such value as edgy; did you mean edges?",
    ]
    assert touched(copy) == {new} and counted("detector") == 1
    users = {stage for stage, files in code.files_by_stage(copy).items() if new in files}
    assert users == {"filter"}


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


def test_a_kind(copy: Path) -> None:
    new, sections = (
        "src/lookalike/synthesis/kinds/strangers.py",
        "src/lookalike/config/synthesis.py",
    )
    (copy / new).write_text(example("kind"))
    insert(copy / sections, "class GenerateConfig", example("section") + "\n\n")
    field = "strangers: StrangersConfig = StrangersConfig()"
    assert f"`{field}`" in PAGE
    insert(copy / sections, "    def of(self", f"    {field}\n\n")
    ((name, line),) = yaml_of("A kind of generated images").items()
    insert(copy / "dvc.yaml", "      persons:", f"      {name}: {json.dumps(line)}\n")
    said = python(
        copy,
        """
        import torch
        from lookalike.artifacts import ARTIFACTS
        from lookalike.stylegan3.design import GeneratorConfig
        from lookalike.stylegan3.generator import Generator
        from lookalike.synthesis.kind import Order, image_kind
        from lookalike.synthesis.rendering import Destination
        from lookalike.training.session import Session
        arms = {"baseline": {"images": ["none"]}, "a": {"images": ["strangers"]}}
        size = {"height": 32, "width": 16, "batch_size": 50}
        config = parse_config({"arms": arms, "generate": size}, Path("params.yaml"))
        torch.manual_seed(0)
        design = GeneratorConfig(
            32, 16, z_dim=8, w_dim=8, channel_base=64, channel_max=8, num_layers=4, margin=2
        )
        to = Destination(Path("images.zip"), Path(), Session(1), "digest")
        order = Order(Generator(design).eval(), config.generate, ARTIFACTS, to)
        kind = image_kind("strangers")
        manifest = kind.generate(order)
        print(len(manifest), manifest["person_id"].nunique(), *set(manifest["origin"]))
        print(Path("images.zip").is_file(), kind.reads(ARTIFACTS))
        print(*KINDS)
        parse_config({"generate": {"strangers": {"cuont": 5}}}, Path("params.yaml"))
        """,
    )
    assert said == [
        "100 100 person",
        "True []",
        "persons variations strangers",
        "params.yaml: generate.strangers.cuont: no such parameter; did you mean count?",
    ]
    assert touched(copy) == {new, sections, "dvc.yaml"} and counted("kind of generated images") == 3
    kinds = yaml.safe_load((copy / "dvc.yaml").read_text())["vars"][0]["kinds"]
    assert set(kinds) == {"persons", "variations", "strangers"}
    users = {stage for stage, files in code.files_by_stage(copy).items() if new in files}
    assert users == {"generate", "register"}


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


def test_each_example_names_its_docs_and_tests() -> None:
    for title in re.findall(r"^## (.*)$", PAGE, re.MULTILINE):
        last = section(title).strip().split("\n\n")[-1]
        assert last.startswith("Docs and tests: "), title


def test_every_file_that_is_to_be_changed_is_there() -> None:
    made = {
        "tests/unit/filtering/test_brightness.py",
        "tests/unit/filtering/detectors/test_edges.py",
        "tests/unit/data/layouts/test_underscored.py",
        "tests/unit/synthesis/kinds/test_strangers.py",
        "filtering/brightness.py",
        "data/layouts/underscored.py",
        "pipelines/count.py",
        "filtering/detectors/edges.py",
        "synthesis/kinds/strangers.py",
        "pipelines/NAME.py",
    }
    for name in set(re.findall(r"`((?:[\w/]+/)?\w+\.(?:py|yaml|md))`", PAGE)):
        if any(name.endswith(new) for new in made):
            # What is new is tested beside the tests of its like.
            assert not name.startswith("tests/") or (ROOT / name).parent.is_dir(), name
        else:
            places = (ROOT / name, ROOT / "src/lookalike" / name)
            assert any(place.is_file() for place in places), name
