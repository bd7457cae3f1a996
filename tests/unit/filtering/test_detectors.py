from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
import pytest
import torch

from lookalike.config import FilterConfig
from lookalike.data.population import render_crops
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.filtering.darknet import Convolution
from lookalike.filtering.detectors import HogDetector, YoloDetector, load_detector
from lookalike.filtering.yolov4_tiny import write_untrained
from lookalike.weights import FILES, VARIABLE, of_detector


@pytest.fixture(scope="module")
def crops():
    return render_crops(3, 20, 3, 128, 64, workers=1, progress=False)


@pytest.fixture(scope="module")
def crop_scores(crops):
    return HogDetector().score(crops)


@pytest.mark.parametrize("kind", ["noise", "blurred", "upside down"])
def test_hog_tells_rendered_pedestrians_from_what_is_none(kind, crops, crop_scores):
    spoiled = {
        "noise": lambda: np.random.default_rng(0).integers(0, 256, crops.shape, dtype=np.uint8),
        "blurred": lambda: np.stack([cv2.GaussianBlur(crop, (0, 0), 6) for crop in crops]),
        "upside down": lambda: np.ascontiguousarray(crops[:, ::-1]),
    }[kind]()
    threshold = np.quantile(HogDetector().score(spoiled), 0.9)  # rejects nine in ten of those
    assert np.mean(crop_scores > threshold) >= 0.8


def test_hog_scores_a_crop_alike_in_any_company_and_size(crops, crop_scores):
    assert np.array_equal(HogDetector().score(crops[5:8]), crop_scores[5:8])
    small = np.stack([cv2.resize(c, (32, 64), interpolation=cv2.INTER_AREA) for c in crops[:10]])
    assert HogDetector().score(small).mean() == pytest.approx(crop_scores[:10].mean(), abs=1.0)
    assert HogDetector().score(crops[:0]).shape == (0,)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


@pytest.mark.parametrize(("objectness", "person"), [(2.0, 1.0), (0.0, 3.0), (5.0, -4.0)])
def test_yolo_score_is_the_confidence_of_the_person_class(tmp_path, crops, objectness, person):
    cfg, weights = write_untrained(tmp_path, classes=4, divisor=16)
    detector = YoloDetector(cfg, weights)
    for convolution in detector._network.modules():
        if isinstance(convolution, Convolution) and not convolution.leaky:
            convolution.weight.zero_()
            convolution.bias.copy_(torch.tensor([0, 0, 0, 0, objectness, person, 5, 5, 5] * 3))
    expected = sigmoid(objectness) * sigmoid(person)
    assert detector.score(crops[:2]) == pytest.approx([expected] * 2, rel=1e-4)


def test_yolo_scores_as_opencv_does_crop_by_crop(tmp_path, crops):
    files = write_untrained(tmp_path, classes=80, divisor=1)
    assert files[1].stat().st_size == 24_251_276  # that of the published file
    detector = YoloDetector(*files)
    detector.batch_size = 2
    scores = detector.score(crops[:3])  # a batch and a half
    network = cv2.dnn.readNetFromDarknet(*map(str, files))
    for crop, score in zip(crops, scores, strict=False):
        network.setInput(cv2.dnn.blobFromImage(crop, 1 / 255, (416, 416)))
        boxes = np.concatenate(network.forward(network.getUnconnectedOutLayersNames()))
        assert score == pytest.approx(boxes[:, 5].max(), abs=1e-4)
    assert len(set(scores)) == 3
    mirrored = detector.score(crops[:1, :, :, ::-1])  # channels are not mixed up
    assert abs(mirrored[0] - scores[0]) > 1e-3
    assert detector.score(crops[:0]).shape == (0,)


def test_load_detector_by_name(tmp_path):
    assert isinstance(load_detector("hog", tmp_path), HogDetector)
    with pytest.raises(UserError, match=r"yolov4-tiny\.cfg"):
        load_detector("yolov4-tiny", tmp_path)


def test_load_detector_with_the_weights_in_their_home(tmp_path, monkeypatch, crops):
    """Files of the published names, where `LOOKALIKE_WEIGHTS` says, their digests verified."""
    files = write_untrained(tmp_path, classes=1, divisor=16)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"yolov4-tiny\.cfg is damaged or another file"):
        load_detector("yolov4-tiny", tmp_path / "elsewhere")
    for name, path in zip(("yolov4-tiny-cfg", "yolov4-tiny-weights"), files, strict=True):
        assert FILES[name].file_name == path.name
        monkeypatch.setitem(FILES, name, replace(FILES[name], sha256=sha256_file(path)))
    detector = load_detector("yolov4-tiny", tmp_path / "elsewhere")
    assert detector.score(crops[:2]) == pytest.approx(YoloDetector(*files).score(crops[:2]))


def test_every_detector_of_the_parameters_is_there() -> None:
    names = get_args(FilterConfig.model_fields["detector"].annotation)
    assert {name: of_detector(name) for name in names} == {
        "hog": [],
        "yolov4-tiny": ["yolov4-tiny-cfg", "yolov4-tiny-weights"],
    }
