"""Frames to VP9 and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from lookalike.report.video import FRAMES_PER_SECOND, write_video


def frames(count: int, height: int = 32, width: int = 16) -> list[np.ndarray]:
    """A red square that walks down a blue ground."""
    images = np.full((count, height, width, 3), (20, 40, 200), np.uint8)
    for index, image in enumerate(images):
        image[index : index + 8, 4:12] = (220, 30, 20)
    return list(images)


def read(path: Path) -> tuple[list[np.ndarray], float]:
    """All frames, RGB, and how many there are per second."""
    video = cv2.VideoCapture(str(path))
    found = []
    while True:
        more, frame = video.read()
        if not more:
            return found, video.get(cv2.CAP_PROP_FPS)
        found.append(frame[:, :, ::-1])


def test_what_is_written_is_what_plays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "walk.mp4"
    given = frames(20)
    write_video(iter(given), path, scale=4)
    found, rate = read(path)
    assert rate == FRAMES_PER_SECOND
    assert len(found) == 20
    for one, other in zip(given, found, strict=True):
        assert other.shape == (128, 64, 3)
        enlarged = one.repeat(4, axis=0).repeat(4, axis=1).astype(int)
        assert np.abs(enlarged - other).mean() < 6  # the codec loses a little
    assert np.abs(found[0].astype(int) - found[19]).mean() > 15
    assert [file.name for file in path.parent.iterdir()] == ["walk.mp4"]


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_video(frames(9), tmp_path / f"{name}.mp4", scale=2)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_bad_frames(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frames"):
        write_video([], tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="even sides"):
        write_video(frames(2, height=31), tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=r"videos are \.mp4"):
        write_video(frames(2), tmp_path / "a.avi")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_video_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "walk.mp4"
    write_video(frames(3), path)
    before = path.read_bytes()

    def broken() -> Iterator[np.ndarray]:
        yield from frames(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(broken(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
