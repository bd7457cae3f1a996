import tracemalloc

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from lookalike.filtering import ssim
from lookalike.filtering.ssim import luma, pairwise_ssim, ssim_to


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (1, 32, 16, 3))
    noise = rng.normal(0, 1, (5, 32, 16, 3)) * np.array([0, 2, 10, 40, 80])[:, None, None, None]
    return (base + noise).round().clip(0, 255).astype(np.uint8)


def test_ssim_to_references(images):
    scores = ssim_to(images, [0, 0, 0, 0, 3])
    assert scores[0] == 1
    assert scores[1] > scores[2] > scores[3]


def test_scores_are_scikit_images_in_batches_of_any_length(images, monkeypatch):
    references = [2, 0, 2, 2, 1]
    grey = luma(images)
    expected = [
        structural_similarity(grey[i], grey[reference], data_range=255)
        for i, reference in enumerate(references)
    ]
    for at_once in (1, 2, 100):
        monkeypatch.setattr(ssim, "AT_ONCE", at_once)
        scores = ssim_to(images, references)
        assert scores == pytest.approx(expected, abs=1e-12)
        assert scores[2] == 1
    assert ssim_to(images[:0], []).shape == (0,)


def test_some_of_the_images_in_any_order(images):
    references = [2, 0, 2, 2, 1]
    every = ssim_to(images, references)
    assert ssim_to(images, references, np.array([4, 1])).tolist() == every[[4, 1]].tolist()
    assert ssim_to(images, references, np.array([], np.intp)).shape == (0,)


def test_memory_does_not_grow_with_the_number_of_images():
    crops = np.random.default_rng(0).integers(0, 256, (1000, 64, 32, 3), dtype=np.uint8)
    tracemalloc.start()
    ssim_to(crops, [i // 8 * 8 for i in range(len(crops))])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20, "luma of all would take 62 MB"


def test_pairwise_equals_scikit_image(images):
    grey = luma(images)
    matrix = pairwise_ssim(grey, stride=1)
    for i in range(len(grey)):
        for j in range(len(grey)):
            expected = structural_similarity(grey[i], grey[j], data_range=255)
            assert matrix[i, j] == pytest.approx(expected, abs=1e-9)


def test_a_grid_of_windows_is_close(images):
    grey = luma(images)
    assert pairwise_ssim(grey) == pytest.approx(pairwise_ssim(grey, stride=1), abs=0.1)
    assert np.diag(pairwise_ssim(grey)) == pytest.approx(np.ones(len(grey)))


def test_luma_of_primaries():
    primaries = np.eye(3, dtype=np.uint8).reshape(1, 1, 3, 3) * 255
    assert luma(primaries)[0, 0] == pytest.approx([76.245, 149.685, 29.07])
