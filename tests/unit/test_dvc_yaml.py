"""dvc.yaml: every stage depends on its code and weights, and arms and folders fit together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pipelines import code

from lookalike.artifacts import ARTIFACTS
from lookalike.config import Config, read_yaml
from lookalike.weights import required_by_stage

ROOT = Path(__file__).parents[2]
NAMES = code.stages(ROOT)
STAGES = {
    name: spec.get("do", spec) for name, spec in read_yaml(ROOT / "dvc.yaml")["stages"].items()
}


def test_every_stage_depends_on_its_code_and_weights() -> None:
    assert set(STAGES) == {"code", "weights", *NAMES} and len(NAMES) == 9
    reading = required_by_stage(Config())
    for name in NAMES:
        assert f"artifacts/code/{name}" in STAGES[name]["deps"], name
        assert (f"artifacts/weights/{name}" in STAGES[name]["deps"]) == (name in reading), name


def test_code_follows_imports_and_stops_at_what_shapes_no_output() -> None:
    files = {stage: set(files) for stage, files in code.files_by_stage(ROOT).items()}
    losses, discriminator = (
        "src/lookalike/reid/losses.py",
        "src/lookalike/stylegan3/discriminator.py",
    )
    assert losses in files["train_reid"] and discriminator in files["train_gan"]
    assert losses not in files["evaluate"] and discriminator not in files["train_reid"]
    assert all("pipelines/added.py" in files[name] for name in ("validate", "filter", "train_reid"))
    assert all("pipelines/content.py" in files[f"train_{name}"] for name in ("reid", "gan"))
    # Pictures and captions train nothing; the serving model is named by its file, not imported.
    assert not any("pictures" in name for name in files["train_reid"])
    assert "src/lookalike/registry/serving_model.py" in files["register"]
    for stage, names in files.items():
        assert f"pipelines/{stage}.py" in names, stage
        assert not [n for n in names if n.startswith(tuple(code.SHAPE_NO_OUTPUT))], stage
    missing = [name for name in code.SHAPE_NO_OUTPUT if not (ROOT / name).exists()]
    assert missing == []


def test_an_edit_changes_the_lists_of_those_who_run_it(tmp_path: Path) -> None:
    for folder in ("src", "pipelines"):
        ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)

    def lists() -> dict[str, str]:
        code.main(tmp_path)
        return {stage: (tmp_path / ARTIFACTS.code / stage).read_text() for stage in NAMES}

    before = lists()
    assert lists() == before
    with (tmp_path / "src/lookalike/reid/losses.py").open("a") as stream:
        stream.write("# changed\n")
    after = lists()
    assert {stage for stage in NAMES if after[stage] != before[stage]} == {"train_reid"}


@pytest.mark.parametrize("stage", NAMES)
def test_a_stage_of_one_kind_is_its_script(stage: str) -> None:
    assert f"-m pipelines.{stage}" in STAGES[stage]["cmd"]


def test_a_new_filter_runs_no_other_stage_but_its_own() -> None:
    """The scores lie beside the manifest, so no training knows of them."""
    own = ("src/lookalike/filtering/", "src/lookalike/data/scores.py")
    users = {
        stage
        for stage, files in code.files_by_stage(ROOT).items()
        if any(file.startswith(own) for file in files)
    }
    assert users == {"filter"}
