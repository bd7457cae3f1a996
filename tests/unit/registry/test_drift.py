"""Drift: nothing of the same cameras, a lot of one that was moved or dimmed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lookalike.config import Config
from lookalike.data.loading import Images, resize_batch, to_tensor
from lookalike.data.population import plan_crops, render_crops
from lookalike.registry.drift import LEAST, NOISE, WINDOW, Reference, Watch
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import new_reid

PERSONS, EACH = 45, 6


def tilted(images: Images) -> Images:
    """As a camera sees them that hangs askew."""
    turn = cv2.getRotationMatrix2D((8, 16), 25, 1.0)
    return np.stack([cv2.warpAffine(image, turn, (16, 32)) for image in images])


def test_a_moved_or_dimmed_camera_shows() -> None:
    reid = Config().reid.model_copy(update={"height": 32, "width": 16})
    torch.manual_seed(0)
    model = new_reid(reid, 2)
    crops = render_crops(5, 2 * PERSONS, EACH, 32, 16, workers=1, progress=False)
    cameras = [shot.camera for shot in plan_crops(5, 2 * PERSONS, EACH)]
    known, live = crops[: PERSONS * EACH], crops[PERSONS * EACH :]
    model.train()
    with torch.no_grad():  # running statistics of such pictures
        for step in range(8):
            model(to_tensor(resize_batch(known[step * 32 :][:32], 32, 16)))
    embedder = Embedder(model)
    reference = Reference.of(embedder.embed(known), cameras[: len(known)])

    def drift(images: Images) -> float:
        watch = Watch(reference)
        watch.add(embedder.embed(images))
        return watch.drift

    sixth = live[np.array(cameras[len(known) :]) == 6]
    assert drift(live) < 0.5, "other persons, the same cameras"
    assert drift(sixth) < 1.2, "one of the cameras that it knows"
    assert drift(tilted(sixth)) > 1.4
    assert drift(sixth // 2) > 1.4, "half as bright"


def test_the_unit_is_the_oddest_camera_and_never_mere_noise() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 8))
    alike = Reference.of(values, [1, 2] * 200)
    assert alike.usual == NOISE
    cameras = np.repeat([1, 2, 3, 4], 100)
    values[cameras == 3] += 4.0
    odd = Reference.of(values, cameras.tolist())
    watch = Watch(odd)
    watch.add(values[cameras == 3])
    assert watch.drift == pytest.approx(1.0)
    assert odd.usual > NOISE


def test_whitened_along_every_axis_that_there_is() -> None:
    rng = np.random.default_rng(1)
    flat = rng.normal(size=(300, 3)) * [1.0, 10.0, 0.0] + 5.0
    reference = Reference.of(flat, [1] * 300)
    assert reference.axes.shape == (2, 3)
    np.testing.assert_allclose(reference.project(flat).std(axis=0), 1.0)
    np.testing.assert_allclose(reference.project(flat).mean(axis=0), 0.0, atol=1e-9)


def test_the_latest_count_and_few_say_nothing() -> None:
    rng = np.random.default_rng(2)
    watch = Watch(Reference.of(rng.normal(size=(100, 4)), [1] * 100))
    watch.add(rng.normal(size=(LEAST - 1, 4)))
    assert np.isnan(watch.drift)
    watch.add(rng.normal(size=(1, 4)) + 100.0)
    assert watch.drift > 1
    for _ in range(WINDOW // 64):
        watch.add(rng.normal(size=(64, 4)))
    assert watch.drift < 1.0, "the odd one has left"
    assert watch.figures()["embedding_drift_pictures"][1] == WINDOW


def test_written_and_read(tmp_path: Path) -> None:
    reference = Reference.of(np.random.default_rng(3).normal(size=(50, 4)), [1] * 50)
    reference.save(tmp_path / "reference.npz")
    again = Reference.load(tmp_path / "reference.npz")
    np.testing.assert_array_equal(reference.axes, again.axes)
    assert reference.usual == again.usual
