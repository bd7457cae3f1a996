from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

from lookalike.config import FilterConfig
from lookalike.data.population import render_crops
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.filtering.detectors import DETECTORS, HogDetector, YoloDetector, load_detector
from lookalike.weights import FILES, VARIABLE, of_detector

ANCHORS = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"


def write_yolov4_tiny(folder: Path, classes: int, divisor: int, seed: int, **head: float):
    """Write a cfg and a weights file; `divisor` divides YOLOv4-tiny's channels.

    `head` may set the biases of both output layers for every box: `objectness`, `person`, `other`;
    their weights are then zero, so that every box has the same, known confidence.
    """
    rng = np.random.default_rng(seed)
    blocks, floats, channels = ["[net]\nwidth=416\nheight=416\nchannels=3"], [], [3]
    outputs: list[int] = []  # channels of every layer, as Darknet counts layers

    def add(text: str, count: int) -> None:
        blocks.append(text)
        outputs.append(count)
        channels[0] = count

    def conv(filters: int, size: int, stride: int = 1) -> None:
        filters //= divisor
        fan_in = channels[0] * size * size
        floats.extend([rng.normal(0, 0.1, filters), np.ones(filters)])  # biases, scales
        floats.extend([np.zeros(filters), np.ones(filters)])  # rolling mean, variance
        floats.append(rng.normal(0, (2 / fan_in) ** 0.5, filters * fan_in))
        add(
            f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\n"
            f"stride={stride}\npad=1\nactivation=leaky",
            filters,
        )

    def route(*layers: int, half: bool = False) -> None:
        total = sum(outputs[layer] for layer in layers)
        text = f"[route]\nlayers={','.join(map(str, layers))}"
        add(text + ("\ngroups=2\ngroup_id=1" if half else ""), total // 2 if half else total)

    def stage(filters: int) -> None:
        conv(filters, 3)
        route(-1, half=True)
        conv(filters // 2, 3)
        conv(filters // 2, 3)
        route(-1, -2)
        conv(filters, 1)
        route(-6, -1)
        add("[maxpool]\nsize=2\nstride=2", channels[0])

    def yolo(mask: str) -> None:
        filters = 3 * (5 + classes)
        box = np.zeros(5 + classes)
        if head:
            box[4], box[5], box[6:] = head["objectness"], head["person"], head["other"]
            weights = np.zeros(filters * channels[0])
        else:
            weights = rng.normal(0, 0.5 / channels[0] ** 0.5, filters * channels[0])
        floats.extend([np.tile(box, 3), weights])
        add(f"[convolutional]\nsize=1\nstride=1\npad=1\nfilters={filters}\nactivation=linear", 0)
        add(f"[yolo]\nmask={mask}\nanchors={ANCHORS}\nclasses={classes}\nnum=6\nscale_x_y=1.05", 0)

    conv(32, 3, 2)
    conv(64, 3, 2)
    for filters in (64, 128, 256):
        stage(filters)
    conv(512, 3)
    conv(256, 1)
    conv(512, 3)
    yolo("3,4,5")
    route(-4)
    conv(128, 1)
    add("[upsample]\nstride=2", channels[0])
    route(-1, 23)
    conv(256, 3)
    yolo("1,2,3")

    cfg, weights = folder / "yolov4-tiny.cfg", folder / "yolov4-tiny.weights"
    cfg.write_text("\n\n".join(blocks) + "\n")
    header = np.array([0, 2, 5], np.int32).tobytes() + np.int64(0).tobytes()
    weights.write_bytes(header + np.concatenate(floats).astype(np.float32).tobytes())
    return cfg, weights


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
    files = write_yolov4_tiny(
        tmp_path, classes=4, divisor=16, seed=0, objectness=objectness, person=person, other=5.0
    )
    expected = sigmoid(objectness) * sigmoid(person)
    expected = expected if expected > 0.2 else 0.0  # OpenCV's own bound
    assert YoloDetector(*files).score(crops[:2]) == pytest.approx([expected] * 2, rel=1e-4)


def test_yolo_reads_files_of_the_published_layout(tmp_path, crops):
    cfg, weights = write_yolov4_tiny(tmp_path, classes=80, divisor=1, seed=0)
    assert weights.stat().st_size == 24_251_276  # that of the published file
    detector = YoloDetector(cfg, weights)
    scores = detector.score(crops[:3])
    assert ((scores >= 0) & (scores <= 1)).all()
    assert len(set(scores)) == 3
    assert np.array_equal(detector.score(crops[1:2]), scores[1:2])
    assert detector.score(crops[:1, :, :, ::-1])[0] != scores[0]  # channels are not mixed up


def test_yolo_names_the_files_that_cannot_be_read(tmp_path):
    cfg, weights = write_yolov4_tiny(tmp_path, classes=1, divisor=16, seed=0)
    cfg.write_text("[net]\nnonsense")
    with pytest.raises(UserError, match=r"cannot read .*yolov4-tiny\.cfg"):
        YoloDetector(cfg, weights)


def test_load_detector_by_name(tmp_path):
    assert isinstance(load_detector("hog", tmp_path), HogDetector)
    with pytest.raises(UserError, match=r"yolov4-tiny\.cfg"):
        load_detector("yolov4-tiny", tmp_path)


def test_load_detector_with_the_weights_in_their_home(tmp_path, monkeypatch, crops):
    """Files of the published names, where `LOOKALIKE_WEIGHTS` says, their digests verified."""
    files = write_yolov4_tiny(tmp_path, classes=1, divisor=16, seed=0)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"yolov4-tiny\.cfg is damaged or another file"):
        load_detector("yolov4-tiny", tmp_path / "elsewhere")
    for name, path in zip(("yolov4-tiny-cfg", "yolov4-tiny-weights"), files, strict=True):
        assert FILES[name].file_name == path.name
        monkeypatch.setitem(FILES, name, replace(FILES[name], sha256=sha256_file(path)))
    detector = load_detector("yolov4-tiny", tmp_path / "elsewhere")
    assert np.array_equal(detector.score(crops[:2]), YoloDetector(*files).score(crops[:2]))


def test_every_detector_of_the_parameters_is_there() -> None:
    assert set(get_args(FilterConfig.model_fields["detector"].annotation)) == set(DETECTORS)
    assert {name: of_detector(name) for name in DETECTORS} == {
        "hog": [],
        "yolov4-tiny": ["yolov4-tiny-cfg", "yolov4-tiny-weights"],
    }
