"""Embed very many pictures with `lookalike embed`: does memory grow, and what does a kill cost?

Small pictures and a small network, so that the number of pictures is what counts: names, parts,
files and what puts them together. The embeddings have 512 dimensions, as those of a large model.
The process is killed with SIGKILL when half of the parts are there, and started again. The pictures
are links to 1,000 different ones; a million of them need 1,000 folders and 4 MB.

    OMP_NUM_THREADS=1 nice python benchmarks/million.py                       # 50,000 pictures
    OMP_NUM_THREADS=1 nice python benchmarks/million.py --pictures 1000000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lookalike.config import Config, ReidConfig
from lookalike.data.loading import encode_jpeg
from lookalike.profiles import render
from lookalike.reid.embedding_parts import PART
from lookalike.reid.model import new_reid, save_reid

BIN = Path(sys.executable).parent
DIFFERENT = 1_000  # pictures; each folder has a link to every one


def make_place(place: Path, pictures: int) -> None:
    """Parameters, a model and the pictures."""
    (place / "params.yaml").write_text(render(Config()))
    config = ReidConfig(backbone="lcnet_035", height=32, width=16, embedding_dim=512)
    torch.manual_seed(0)
    save_reid(place / "model.safetensors", new_reid(config, 2), config, ["a", "b"])
    first, rng = place / "people" / "0000", np.random.default_rng(0)
    first.mkdir(parents=True)
    for number in range(min(DIFFERENT, pictures)):
        picture = rng.integers(0, 256, (32, 16, 3), dtype=np.uint8)
        (first / f"{number:04d}.jpg").write_bytes(encode_jpeg(picture))
    for number in range(DIFFERENT, pictures):
        folder = place / "people" / f"{number // DIFFERENT:04d}"
        folder.mkdir(exist_ok=True)
        name = f"{number % DIFFERENT:04d}.jpg"
        os.link(first / name, folder / name)


@dataclass
class Run:
    """`lookalike embed` at work, and its memory by the parts that were there."""

    process: subprocess.Popen[str]
    resume: Path
    began: float
    had: int  # parts that were there before
    own: dict[int, float] = field(default_factory=dict)  # parts -> MiB that are in no file
    peak: float = 0.0  # MiB, pages of files included
    first: float = 0.0  # seconds until the first part that it made

    @classmethod
    def start(cls, place: Path) -> Run:
        """Begin."""
        command = [str(BIN / "lookalike"), "embed", "people", "--output", "people.npz"]
        process = subprocess.Popen(
            [*command, "--model", "model.safetensors"], cwd=place, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        resume = place / ".lookalike" / "resume"
        return cls(process, resume, time.monotonic(), _parts(resume))

    def look(self) -> int:
        """Note the memory; how many parts are there."""
        parts = _parts(self.resume)
        try:
            text = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return parts
        sizes = dict(line.split(":", 1) for line in text.splitlines())
        if "RssAnon" in sizes:
            self.own[parts] = max(self.own.get(parts, 0), _mib(sizes["RssAnon"]))
            self.peak = _mib(sizes["VmHWM"])
        if parts > self.had and not self.first:
            self.first = time.monotonic() - self.began
        return parts

    def until(self, parts: int) -> float:
        """Watch until so many parts are there, or it ends; seconds since its start."""
        while self.process.poll() is None and self.look() < parts:
            time.sleep(0.1)
        return time.monotonic() - self.began


def _parts(resume: Path) -> int:
    return len(list(resume.glob("embed-*/[0-9]*.npz")))


def _mib(size: str) -> float:
    return int(size.split()[0]) / 1024


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=50_000)
    chosen = parser.parse_args()
    parts = -(-chosen.pictures // PART)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        make_place(place, chosen.pictures)
        print(f"{chosen.pictures:,} pictures, {parts:,} parts", flush=True)
        killed = Run.start(place)
        seconds = killed.until(parts // 2)
        killed.process.kill()
        killed.process.wait()
        report(killed, seconds, killed.look())
        resumed = Run.start(place)
        seconds = resumed.until(parts + 1)
        report(resumed, seconds, parts - resumed.had)
        print(resumed.process.communicate()[0].strip())
        assert not resumed.process.returncode
        size = (place / "people.npz").stat().st_size
        print(f"gallery: {size / 2**20:,.0f} MiB, {size / chosen.pictures:,.0f} bytes a picture")


def report(run: Run, seconds: float, parts: int) -> None:
    """Speed, and memory in the course of it."""
    print(f"{parts:,} parts in {seconds:.0f} s, the first {run.first:.0f} s after the start")
    if parts > 1:
        print(f"{(parts - 1) * PART / (seconds - run.first):,.0f} pictures/s after the first part")
    shown = [*sorted(run.own)[:: max(1, len(run.own) // 8)], max(run.own)]
    told = ", ".join(f"{run.own[n]:,.0f} at {n:,}" for n in shown)
    print(f"MiB in no file, by parts: {told}; at most {run.peak:,.0f} with files", flush=True)


if __name__ == "__main__":
    main()
