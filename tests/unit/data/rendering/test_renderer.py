"""Rendered crops look like pedestrians to a detector, and like the same person to themselves."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.data.population import render_crops
from lookalike.data.rendering.appearance import sample_person
from lookalike.data.rendering.canvas import arc
from lookalike.data.rendering.dice import Dice, Stream
from lookalike.data.rendering.renderer import begin_track, draw_crop, draw_distractor, draw_junk

Images = NDArray[np.uint8]


def people_scores(images: Images) -> NDArray[np.float64]:
    """Score crops [N, 128, 64, 3] with OpenCV's people SVM: the best of nine windows.

    The SVM was trained on 64x128 windows with the person about 96 pixels high, so the crop is
    shrunk to 104 rows and framed by its border.
    """
    hog = cv2.HOGDescriptor()
    weights = cv2.HOGDescriptor_getDefaultPeopleDetector().ravel()  # type: ignore[attr-defined]
    scores = []
    for image in images:
        small = cv2.resize(image[..., ::-1], (52, 104), interpolation=cv2.INTER_AREA)
        framed = cv2.copyMakeBorder(small, 16, 16, 10, 10, cv2.BORDER_REPLICATE)
        windows = [framed[y : y + 128, x : x + 64] for y in (0, 4, 8) for x in (0, 4, 8)]
        descriptors = [hog.compute(np.ascontiguousarray(window)).ravel() for window in windows]
        scores.append(max(float(d @ weights[:-1]) + weights[-1] for d in descriptors))
    return np.array(scores)


def test_the_people_detector_tells_crops_from_what_is_none() -> None:
    """At least 80 % pass a threshold that at least 90 % of each kind of negatives fail."""
    crops = render_crops(31, 40, 3, 128, 64, workers=1, progress=False)
    negatives = {
        "noise": Dice(Stream.IMAGE, 1, 1, 1).bytes(*crops.shape),
        "blurred": np.stack([cv2.GaussianBlur(crop, (0, 0), 6) for crop in crops]),
        "upside down": crops[:, ::-1],
    }
    threshold = max(np.quantile(people_scores(images), 0.9) for images in negatives.values())
    assert np.mean(people_scores(crops) > threshold) >= 0.8


def test_cameras_differ_more_than_images_of_one_passage() -> None:
    person = sample_person(1, 1)

    def colour(camera: int, step: int) -> NDArray[np.float64]:
        track = begin_track(person, camera, Dice(Stream.TRACK, 1, 1, camera))
        dice = Dice(Stream.IMAGE, 1, 1, step)
        crop = draw_crop(track, step, dice, lambda: sample_person(1, 2))
        return np.asarray(crop.mean((0, 1)), np.float64)

    colours = np.array([[colour(camera, step) for step in range(4)] for camera in range(1, 7)])
    within = np.abs(colours[:, 1:] - colours[:, :-1]).mean()
    between = np.mean([np.abs(colours - np.roll(colours, k, axis=0)).mean() for k in range(1, 6)])
    assert between > 3 * within


def test_junk_and_distractors_are_drawn_for_every_camera() -> None:
    for camera in range(1, 9):
        track = begin_track(sample_person(2, camera), camera, Dice(Stream.TRACK, 2, 2, camera))
        for draw in (draw_junk, draw_distractor):
            crop = draw(track, Dice(Stream.IMAGE, 2, 2, camera))
            assert (crop.shape, crop.dtype) == ((128, 64, 3), np.uint8)
            assert crop.std() > 5


def test_persons_differ_between_seeds_and_stay_the_same_within_one() -> None:
    assert sample_person(1, 1).shoes == sample_person.__wrapped__(1, 1).shoes
    looks = {
        (p.upper.colour, p.lower.colour)
        for s in (1, 2)
        for p in (sample_person(s, i) for i in range(200))
    }
    assert len(looks) == 400


def test_arc_is_the_inverse_sine() -> None:
    u = np.linspace(-1, 1, 201, dtype=np.float32)
    assert np.abs(arc(u) - np.arcsin(u)).max() < 0.01


def test_dice_draw_the_recorded_stream() -> None:
    """The stream is NumPy's guaranteed one: these numbers hold for every version."""
    dice = Dice(Stream.PLAN, 7)
    assert [dice.integer(1, 1000) for _ in range(4)] == [683, 601, 514, 301]
    draws = [dice.bell(2.0, 0.5) for _ in range(4000)]
    assert np.mean(draws) == pytest.approx(2.0, abs=0.03)
    assert np.std(draws) == pytest.approx(0.5, abs=0.02)
    assert sorted(dice.shuffled(range(9))) == list(range(9))
    picks = [dice.weighted({"a": 3.0, "b": 1.0, "c": 0.0}) for _ in range(2000)]
    assert picks.count("a") / 2000 == pytest.approx(0.75, abs=0.04)
    assert "c" not in picks
