import cv2
import numpy as np
import pytest

from lookalike.filtering.detectors.hog import HogDetector


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
