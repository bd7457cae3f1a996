from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lookalike import weights
from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.filtering.detector import load_detector
from lookalike.profiles import compose
from lookalike.rehearsal.stand_ins import bring_weights, write_stand_in
from lookalike.reid.model import load_imagenet, new_reid, read_state
from lookalike.stylegan3.checkpoint import read_checkpoint

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _own_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "FILES", dict(weights.FILES))


def test_what_stands_in_is_read_only_where_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["resnet50-imagenet", "yolov4-tiny-cfg", "yolov4-tiny-weights"]
    for name in names:
        write_stand_in(name, Config(), tmp_path)
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    for name in names:
        with pytest.raises(UserError, match="damaged or another file"):
            weights.find(name, tmp_path)
    weights.accept(names)
    load_detector("yolov4-tiny", tmp_path)
    model = new_reid(Config().reid, 4)
    load_imagenet(model, read_state(weights.find("resnet50-imagenet", tmp_path)))


def test_what_is_there_is_linked_and_the_rest_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "weights" / "mine.safetensors"
    own.parent.mkdir()
    own.write_bytes(b"of the user")
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    gan = Config().gan.model_copy(update={"start": "mine.safetensors"})
    reid = Config().reid.model_copy(update={"weights": "resnet50-imagenet"})
    config = Config().model_copy(update={"gan": gan, "reid": reid})
    assert bring_weights(config, tmp_path, tmp_path / "made") == ["resnet50-imagenet"]
    assert (tmp_path / "made" / own.name).resolve() == own
    assert own.read_bytes() == b"of the user"
    assert torch.load(tmp_path / "made" / "resnet50-0676ba61.pth", weights_only=True)


@pytest.mark.parametrize("kind", ["t", "r"])
def test_a_published_generator_stands_in_at_its_own_size(kind: str, tmp_path: Path) -> None:
    """Whatever the canvas and the widths of the parameters are."""
    name = f"stylegan3-{kind}-ffhqu-256"
    write_stand_in(name, Config.model_validate({"gan": {"start": name}}), tmp_path)
    config = read_checkpoint(tmp_path / weights.FILES[name].file_name).config
    doubled = 2 if kind == "r" else 1
    assert (config.height, config.width, config.radial) == (256, 256, kind == "r")
    assert (config.channel_base, config.channel_max) == (16384 * doubled, 512 * doubled)


def test_every_file_of_every_profile_can_stand_in() -> None:
    from lookalike.rehearsal.stand_ins import STATES

    for profile in ("market1501", "strong", "embedded"):
        for name in weights.required_for(compose(profile, ROOT / "profiles")):
            known = name in STATES or name.startswith(("yolov4-tiny", "stylegan3"))
            assert known or weights.FILES[name].shipped


def test_a_file_of_unknown_shapes_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stand in for mine\.safetensors: put it"):
        write_stand_in("mine.safetensors", Config(), tmp_path)
