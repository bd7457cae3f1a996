"""The filters' scores: crops one at a time against all at once, and how near the cores' limit.

    OMP_NUM_THREADS=1 python benchmarks/filters.py            # a minute on two cores
    OMP_NUM_THREADS=1 python benchmarks/filters.py --quick    # tries the harness

One at a time are calls with a single crop; for SSIM those of scikit-image, on the same luma. Both
take turns. `gain` is of images per second by the clock, which a busy machine falsifies, `CPU gain`
of images per CPU second, which it does not. The limit is what all cores reach if they do nothing
but the innermost work, by its CPU seconds:

| filter | innermost work |
|---|---|
| hog | OpenCV's descriptors, without resizing, grain and SVM |
| ssim | three box filters an image |
| yolov4-tiny | a product of matrices with as many operations |
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from skimage.metrics import structural_similarity
from torch.utils.flop_counter import FlopCounterMode

from lookalike.data.loading import Images
from lookalike.data.population import render_crops
from lookalike.filtering.darknet import load_darknet
from lookalike.filtering.detectors.hog import HogDetector
from lookalike.filtering.detectors.yolov4_tiny import YoloDetector
from lookalike.filtering.ssim import WINDOW, luma, ssim_to
from lookalike.filtering.untrained_yolo import write_untrained

HEIGHT, WIDTH = 128, 64  # as generated images are stored
PER_PERSON = 8
Timed = tuple[Callable[[], object], float]  # work, and of how many images


def rates(ways: dict[str, Timed], repeats: int) -> dict[str, tuple[float, float]]:
    """Images per second by the clock, and per CPU second: medians of turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, (work, count) in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            taken = time.perf_counter() - wall, time.process_time() - cpu
            if turn:  # the first one warms up
                found[name].append((count / taken[0], count / taken[1]))
    return {
        name: (statistics.median(w for w, _ in of), statistics.median(c for _, c in of))
        for name, of in found.items()
    }


def report(name: str, one: Timed, batch: Timed, inner: Timed, repeats: int) -> None:
    """A row."""
    found = rates({"one": one, "batch": batch, "inner": inner}, repeats)
    (one_wall, one_cpu), (wall, cpu), (_, inner_cpu) = (found[w] for w in ("one", "batch", "inner"))
    limit = inner_cpu * len(os.sched_getaffinity(0))
    numbers = one_wall, wall, limit, wall / one_wall, cpu / one_cpu, cpu / inner_cpu
    print(f"{name:12}" + "".join(f"{number:12.4g}" for number in numbers), flush=True)


def hog(crops: Images, repeats: int) -> None:
    """OpenCV's people detector."""
    detector = HogDetector()
    descriptor = cv2.HOGDescriptor()
    height, width = detector.height + 2 * detector._pad_y, detector.width + 2 * detector._pad_x
    grey = [cv2.cvtColor(cv2.resize(crop, (width, height)), cv2.COLOR_RGB2GRAY) for crop in crops]
    report(
        "hog",
        (lambda: [detector._score(crop) for crop in crops], len(crops)),
        (lambda: detector.score(crops), len(crops)),
        (lambda: [descriptor.compute(g, winStride=(4, 4)) for g in grey], len(crops)),
        repeats,
    )


def ssim(crops: Images, repeats: int) -> None:
    """Each crop to its person's first one."""
    first = [i // PER_PERSON * PER_PERSON for i in range(len(crops))]

    def one() -> None:
        for crop, reference in zip(crops, crops[first], strict=True):
            structural_similarity(luma(crop), luma(reference), data_range=255)

    plane = luma(crops[0])

    def boxes() -> None:
        for _ in range(3 * len(crops)):
            cv2.boxFilter(plane, cv2.CV_64F, (WINDOW, WINDOW))

    everything = (lambda: ssim_to(crops, first), len(crops))
    report("ssim", (one, len(crops)), everything, (boxes, len(crops)), repeats)


def yolo(crops: Images, repeats: int) -> None:
    """YOLOv4-tiny with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_untrained(Path(folder))
        detector, network = YoloDetector(*files), load_darknet(*files)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, detector.size, detector.size))
    side = 2048
    a = torch.randn(side, side)
    images = 2 * side**3 / counter.get_total_flops()  # of whose operations the product has as many
    report(
        "yolov4-tiny",
        (lambda: [detector.score(crop[None]) for crop in crops], len(crops)),
        (lambda: detector.score(crops), len(crops)),
        (lambda: a @ a, images),
        repeats,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few crops, one turn")
    quick = parser.parse_args().quick
    persons, repeats = (2, 1) if quick else (64, 5)
    crops = render_crops(1, persons, PER_PERSON, HEIGHT, WIDTH, workers=1, progress=False)
    cv2.setNumThreads(1)
    heads = "one/s", "batch/s", "limit/s", "gain", "CPU gain", "of limit"
    print(f"{len(crops)} crops\n{'':12}" + "".join(f"{head:>12}" for head in heads))
    hog(crops, repeats)
    ssim(crops, repeats)
    yolo(crops[: 16 if quick else 64], repeats)


if __name__ == "__main__":
    main()
