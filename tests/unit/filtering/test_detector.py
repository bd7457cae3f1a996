from dataclasses import replace

import numpy as np
import pytest

from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.filtering.detector import load_detector
from lookalike.filtering.detectors.hog import HogDetector
from lookalike.filtering.detectors.yolov4_tiny import YoloDetector
from lookalike.filtering.untrained_yolo import write_untrained
from lookalike.parts import part, parts
from lookalike.weights import FILES, VARIABLE, of_detector


def test_load_detector_by_name(tmp_path):
    assert isinstance(load_detector("hog", tmp_path), HogDetector)
    with pytest.raises(UserError, match=r"yolov4-tiny\.cfg"):
        load_detector("yolov4-tiny", tmp_path)


def test_load_detector_with_the_weights_in_their_home(tmp_path, monkeypatch):
    """Files of the published names, where `LOOKALIKE_WEIGHTS` says, their digests verified."""
    files = write_untrained(tmp_path, classes=1, divisor=16)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"yolov4-tiny\.cfg is damaged or another file"):
        load_detector("yolov4-tiny", tmp_path / "elsewhere")
    for name, path in zip(("yolov4-tiny-cfg", "yolov4-tiny-weights"), files, strict=True):
        assert FILES[name].file_name == path.name
        monkeypatch.setitem(FILES, name, replace(FILES[name], sha256=sha256_file(path)))
    detector = load_detector("yolov4-tiny", tmp_path / "elsewhere")
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3), np.uint8)
    assert detector.score(crops) == pytest.approx(YoloDetector(*files).score(crops))


def test_every_detector_of_the_parameters_is_there() -> None:
    names = parts("lookalike.filtering.detectors")
    assert {name: of_detector(name) for name in names} == {
        "hog": [],
        "yolov4-tiny": ["yolov4-tiny-cfg", "yolov4-tiny-weights"],
    }
    assert all(callable(part("lookalike.filtering.detectors", name).load) for name in names)


def test_a_detector_whose_name_begins_anothers_gets_its_own_weights(monkeypatch) -> None:
    """By their names, yolov4 would get those of yolov4-tiny."""
    larger = replace(FILES["yolov4-tiny-cfg"], name="yolov4-cfg", detector="yolov4")
    monkeypatch.setitem(FILES, larger.name, larger)
    assert of_detector("yolov4") == ["yolov4-cfg"]
    assert of_detector("yolov4-tiny") == ["yolov4-tiny-cfg", "yolov4-tiny-weights"]
