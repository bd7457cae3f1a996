"""Every writer on a disk that is really full: one line, the old file whole, nothing left over."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from lookalike.data.archives import write_archive
from lookalike.data.manifest import new_manifest, write_manifest
from lookalike.data.scores import write_scores
from lookalike.failures import last_words
from lookalike.files import write_text
from lookalike.registry.decisions import PROMOTED, Decision, Entry, keep_copies, read_history
from lookalike.registry.shadow import append
from lookalike.reid.gallery import Gallery
from lookalike.report.search import write_search_page
from lookalike.report.style import finish
from lookalike.report.video import write_video
from lookalike.training.checkpoint import ResumeState
from lookalike.training.model_file import save_weights
from lookalike.waiting import Waiting

SIZE = 256 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def noise(size: int) -> np.ndarray:
    """Bytes that nothing compresses."""
    return np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)


def manifest(folder: Path, size: int) -> None:
    rows: list[dict[str, object]] = [
        {
            "image_id": noise(64 + n).tobytes().hex(), "person_id": "1", "camera_id": 1,
            "split": "train", "origin": "real", "member": "a", "width": 1, "height": 1,
            "sha256": "0",
        }
        for n in range(size // 64)
    ]  # fmt: skip
    write_manifest(new_manifest(rows), folder / "manifest.parquet")


def scores(folder: Path, size: int) -> None:
    values = noise(size).view(np.float64)
    frame = pd.DataFrame({"image_id": map(str, range(len(values))), "reason": "", "ssim": values})
    write_scores(frame, folder / "scores.parquet")


def archive(folder: Path, size: int) -> None:
    write_archive(folder / "images.zip", [("a.jpg", noise(size).tobytes())])


def gallery(folder: Path, size: int) -> None:
    values = noise(size).astype(np.float32).reshape(-1, 16)
    names = tuple(map(str, range(len(values))))
    Gallery(folder, names, values, {"model": "m"}).save(folder / "gallery.npz")


def weights(folder: Path, size: int) -> None:
    save_weights(folder / "model.safetensors", {"a": torch.from_numpy(noise(size))}, {"b": 1})


def resume(folder: Path, size: int) -> None:
    ResumeState(folder, "train_gan", "abc").save({"a": torch.from_numpy(noise(size))})


def text(folder: Path, size: int) -> None:
    write_text(folder / "verdict.json", json.dumps(noise(size).tolist()))


def page(folder: Path, size: int) -> None:
    write_search_page(folder / "search.html", [], title="x" * size)


def figure(folder: Path, size: int) -> None:
    side = max(16, int((size / 3) ** 0.5))
    drawn = Figure((side / 100, side / 100), dpi=100)
    drawn.figimage(noise(3 * side * side).reshape(side, side, 3))
    finish(drawn, [], folder / "figure.png")


def video(folder: Path, size: int) -> None:
    frame = noise(3 * 64 * 64).reshape(64, 64, 3)
    frames = (np.roll(frame, 7 * n, axis=0) ^ np.uint8(n % 251) for n in range(size // 1024))
    write_video(frames, folder / "video.mp4")


def copies(folder: Path, size: int) -> None:
    made = Decision(PROMOTED, 1, None, 1, (), "2026-01-01T00:00:00", reason="x" * size)
    keep_copies(read_history([Entry.following("", 1, made)], ""), folder)


WRITERS = (
    manifest, scores, archive, gallery, weights, resume, text, page, figure, video,
)  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_the_old_file_stays_whole(
    write: Callable[[Path, int], None], disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(disk, 1024)
    before = contents(disk)
    assert len(before) == 1
    with pytest.raises(Exception) as error:  # of several libraries
        write(disk, 2 * SIZE)
    assert contents(disk) == before
    assert last_words(error.value, "stage") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "free some space" in line or "free space" in line, line
    write(disk, 1024)


def test_no_half_copy_of_a_decision(disk: Path) -> None:
    with pytest.raises(Exception, match="cannot write copies of decisions"):
        copies(disk, 2 * SIZE)
    assert contents(disk) == {}


def test_a_shadows_record_says_so(disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        append(disk / "shadow.jsonl", "x" * 2 * SIZE)


def test_what_waits_for_mlflow_already_is_whole(disk: Path, tmp_path: Path) -> None:
    waiting, picture = Waiting(disk / "run"), tmp_path / "sample.png"
    picture.write_bytes(noise(2 * SIZE).tobytes())
    waiting.add({"kind": "tags", "values": {"a": "1"}})
    with pytest.raises(OSError, match="No space left"):
        waiting.add({"kind": "artifact", "path": str(picture), "folder": ""})
    picture.write_bytes(b"small")
    waiting.add({"kind": "artifact", "path": str(picture), "folder": ""})
    seen = []
    waiting.hand_over(lambda record: seen.append((record["kind"], record.get("path"))))
    assert [kind for kind, _ in seen] == ["tags", "artifact"]
    assert contents(disk) == {}
