"""Frames to a video file that browsers play: VP9 in MP4, by OpenCV's own encoder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lookalike.errors import UserError
from lookalike.files import replacing

FRAMES_PER_SECOND = 24
CODEC = "vp09"  # browsers do not play MPEG-4 part 2 (mp4v); H.264 is not in OpenCV's wheels


def write_video(frames: Iterable[npt.NDArray[np.uint8]], path: Path, *, scale: int = 1) -> None:
    """Write frames at 24 per second, atomically; the same bytes for the same frames.

    Args:
        frames: one or more, uint8 [H, W, 3], RGB, all of one size; taken one by one.
        path: an `.mp4`.
        scale: whole factor of enlargement without interpolation. The codec halves the resolution
            of colours, which an even factor makes up for.

    Raises:
        ValueError: other suffix, no frames, or an enlarged side that is odd.
        UserError: this OpenCV has no such encoder, or the disk is full.
    """
    if path.suffix != ".mp4":
        raise ValueError(f"{path.name}: videos are .mp4")
    writer: cv2.VideoWriter | None = None
    count = 0
    with replacing(path) as partial:
        for frame in frames:
            count += 1
            pixels = frame.repeat(scale, axis=0).repeat(scale, axis=1)
            if writer is None:
                writer = _open(partial, *pixels.shape[:2])
            writer.write(np.ascontiguousarray(pixels[:, :, ::-1]))
        if writer is None:
            raise ValueError(f"{path.name}: no frames")
        writer.release()
        if cv2.VideoCapture(str(partial)).get(cv2.CAP_PROP_FRAME_COUNT) != count:
            # OpenCV says nothing of what it could not write.
            raise UserError(f"cannot write {path}; look at its folder, its rights and free space")


def _open(path: Path, height: int, width: int) -> cv2.VideoWriter:
    if height % 2 or width % 2:
        raise ValueError(f"frames of {height}x{width}: {CODEC} needs even sides")
    fourcc = cv2.VideoWriter.fourcc(*CODEC)
    writer = cv2.VideoWriter(str(path), fourcc, FRAMES_PER_SECOND, (width, height))
    if not writer.isOpened():
        raise UserError(
            f"OpenCV {cv2.__version__} cannot write {path.parent} as {CODEC} video: check that the "
            "folder is writable and that opencv-python is the version in requirements.lock"
        )
    return writer
