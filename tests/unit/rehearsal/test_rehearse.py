"""Profiles at their true sizes: the stages that are cheap; at small sizes all of them.

A job of CI rehearses all at their true sizes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lookalike.config import Config
from lookalike.profiles import compose, merged
from lookalike.rehearsal import rehearse as module
from lookalike.rehearsal.rehearse import folder_of, rehearse
from lookalike.rehearsal.report import HEAD

ROOT = Path(__file__).parents[3]


# The kinds of networks are the profile's; Inception and YOLOv4-tiny have their true sizes.
SMALL = {
    "reid": {"height": 64, "width": 32},
    "gan": {
        "height": 64,
        "width": 32,
        "channel_base": 1024,
        "channel_max": 16,
        "num_layers": 6,
        "discriminator_channel_base": 1024,
        "discriminator_channel_max": 16,
    },
    "encoder": {"channels": 8},
    "generate": {"height": 64, "width": 32},
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without data and weights."""
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    monkeypatch.delenv("LOOKALIKE_WEIGHTS", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("profile", "last"), [("market1501", "prepare"), ("strong", "train_reid@baseline")]
)
def test_a_profile_runs_with_what_stands_in(
    profile: str, last: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(profile, ROOT / "profiles")
    every = module.stages_of(config)
    tried = every[: every.index(last) + 1]
    monkeypatch.setattr(module, "stages_of", lambda _: tried)
    found = rehearse(config, root)
    assert found.runs, [outcome.problem for outcome in found.outcomes]
    assert [row[0] for row in found.table] == [*tried, "together"]
    assert found.warnings[0].startswith("NOT YOUR DATA")
    assert any("resnet50-imagenet" in line for line in found.warnings[1:])
    folder = folder_of(config, root)
    assert sorted(path.name for path in folder.iterdir()) == [
        "params.yaml",
        "results",
        "stand_ins.json",
    ]
    row = dict(zip(HEAD, found.table[-2], strict=True))
    assert float(row["hours"]) > 0 and float(row["host GiB"]) < 16
    if last.startswith("train_reid"):
        assert float(row["s a step"]) > 0 and row["real images"] == f"{120 * (12_936 - 1_722):,}"


@pytest.mark.pipeline
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("profile", "kind"), [("market1501", "r"), ("strong", "t")])
def test_every_stage_of_a_profile_runs_when_networks_are_small(
    profile: str, kind: str, root: Path
) -> None:
    gan = {"config": kind, "start": f"stylegan3-{kind}-ffhqu-256"}
    whole = compose(profile, ROOT / "profiles").model_dump()
    config = Config.model_validate(merged(merged(whole, SMALL), {"gan": gan}))
    found = rehearse(config, root)
    assert found.runs, [(outcome.stage, outcome.problem) for outcome in found.outcomes]
    assert [row[0] for row in found.table] == [*module.stages_of(config), "together"]
    assert {"generate@persons", "filter@variations", "evaluate@baseline"} < {
        row[0] for row in found.table
    }
    warned = "\n".join(found.warnings)
    for name in ("NOT YOUR DATA", gan["start"], "inception-2015", "alexnet", "yolov4-tiny"):
        assert name in warned


def test_study_is_market1501() -> None:
    """So that one rehearsal stands for both."""
    study, market = (compose(name, ROOT / "profiles") for name in ("study", "market1501"))
    assert study == market


def test_whoever_stops_it_keeps_no_gigabytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose("embedded", ROOT / "profiles")

    def stop(*_: object) -> None:
        (folder_of(config, root) / "artifacts").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_stage", stop)
    with pytest.raises(KeyboardInterrupt):
        rehearse(config, root)
    left = {path.name for path in folder_of(config, root).iterdir()}
    assert not left & {"data", "weights", "artifacts", ".lookalike"}
