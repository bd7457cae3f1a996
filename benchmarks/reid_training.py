"""How fast re-ID networks train, and how long they wait for images.

Runs the trainer itself on images of noise and reads the rates that it reports. On the CPU both
recipes run at the embedded profile's scale; on CUDA they also run at Market-1501's, ResNet50 at
256x128 in batches of 64 in bf16. Operations are counted from the network, forwards and backwards.

    OMP_NUM_THREADS=1 python benchmarks/reid_training.py
    python benchmarks/reid_training.py --peak-tflops N    # CUDA: the chip's dense peak in bf16
    python benchmarks/reid_training.py --quick            # tiny images, seconds
    python benchmarks/reid_training.py --compare          # ways to run the network, in turns

The last compares the network as it is, in channels_last and with small maps convolved by matrix
products, with oneDNN's convolutions alone, with the contiguous layout and with torch.compile, which
the trainer does not use: it had not compiled the study's network after 200 s, longer than the
embedded profile's steps would pay back. Nothing of it was measured on a GPU.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from recipes import ROOT, recipes
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lookalike.config import ReidConfig
from lookalike.profiles import compose
from lookalike.reid.convolution import SmallMapConv2d
from lookalike.reid.model import ReidNet, new_reid
from lookalike.reid.trainer import train_reid
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState
from lookalike.training.session import Session

PERSONS = 64
AS_IT_IS = "as it is"


class Rates(NullTracker):
    """Keeps the points of the curves."""

    def __init__(self) -> None:
        self.points: list[tuple[int, Mapping[str, float]]] = []

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """See Tracker."""
        self.points.append((step, values))

    def settled(self) -> tuple[float, float]:
        """Images per second and the share of data wait, without the first quarter."""
        images = seconds = waited = 0.0
        for (before, _), (step, values) in zip(self.points, self.points[1:], strict=False):
            if before >= self.points[-1][0] / 4:
                took = (step - before) / values["images_per_second"]
                images, seconds = images + step - before, seconds + took
                waited += values["data_wait"] * took
        return images / seconds, waited / seconds


def measure(config: ReidConfig, steps: int) -> tuple[float, float, str]:
    """Train for so many steps: images per second, share of data wait, the device."""
    total = steps * config.batch_size
    count = min(total, 2048)
    config = config.model_copy(
        update={"epochs": max(1, total // count), "checkpoint_images": 10**9, "weights": "none"}
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, config.height, config.width, 3), dtype=np.uint8)
    session, rates = Session(1, config.precision), Rates()
    with tempfile.TemporaryDirectory() as folder:
        train_reid(
            config,
            images,
            [f"{i % PERSONS:04d}" for i in range(count)],
            session=session,
            resume=ResumeState(Path(folder), "benchmark", "x"),
            tracker=rates,
            initial=None,
            validate=None,
        )
    return *rates.settled(), session.device.type


def operations(config: ReidConfig) -> float:
    """Floating-point operations to train on one image; a multiplication and an addition are two."""
    model = new_reid(config, PERSONS)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 3, config.height, config.width)).sum().backward()
    return counter.get_total_flops() / 2


def with_pytorchs_convolutions(network: ReidNet) -> ReidNet:
    """The network without the matrix products, in place."""
    for module in network.modules():
        if isinstance(module, SmallMapConv2d):
            module.__class__ = nn.Conv2d
    return network


def compare(config: ReidConfig, repeats: int, compiled: bool) -> dict[str, float]:
    """The shortest seconds of a step (forwards, backwards) each way, taken in turns."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    plain = new_reid(config, PERSONS).to(device)
    contiguous = copy.deepcopy(plain).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    models: dict[str, Callable[[Tensor], Tensor]] = {
        AS_IT_IS: plain,
        "oneDNN alone": with_pytorchs_convolutions(copy.deepcopy(plain)),
        "contiguous": contiguous,
    }
    if compiled:
        models["torch.compile"] = torch.compile(copy.deepcopy(plain))
    x = torch.randn(config.micro_batch, 3, config.height, config.width, device=device)
    y = torch.arange(config.micro_batch, device=device) % PERSONS
    seconds = dict.fromkeys(models, math.inf)
    for turn in range(repeats + 1):  # the first warms up, and compiles
        for name, model in models.items():
            began = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name] = min(seconds[name], time.perf_counter() - began)
    return seconds


def main() -> None:
    """Measure and print one line per recipe, or per way to run its network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peak-tflops", type=float, help="of the CUDA device in bf16, dense")
    parser.add_argument("--steps", type=int, help="per recipe; default 12, on CUDA 400")
    parser.add_argument("--quick", action="store_true", help="tiny images, 4 steps")
    parser.add_argument(
        "--compare", action="store_true", help="oneDNN alone, contiguous, torch.compile"
    )
    arguments = parser.parse_args()
    cuda = torch.cuda.is_available()
    steps = arguments.steps or (4 if arguments.quick else 400 if cuda else 12)

    configs = {f"{name}, small": config for name, config in recipes(arguments.quick).items()}
    if cuda and not arguments.quick:
        for name in ("study", "strong"):
            config = compose(name, ROOT / "profiles").reid
            configs[name] = config.model_copy(update={"batch_size": 64, "micro_batch": 64})
    if arguments.compare:
        print(f"{'recipe':16}{'way':>16}{'seconds a step':>16}{'of as it is':>13}")
        for name, config in configs.items():
            times = compare(config, 2 if arguments.quick else 8, compiled=not arguments.quick)
            for way, took in times.items():
                print(f"{name:16}{way:>16}{took:16.3f}{took / times[AS_IT_IS]:13.2f}")
        return
    print(f"{'recipe':16}{'size':>9}{'batch':>7}{'precision':>11}{'device':>8}", end="")
    print(f"{'images/s':>10}{'data wait':>11}{'TFLOP/s':>9}{'of peak':>9}")
    for name, config in configs.items():
        rate, wait, device = measure(config, steps)
        teraflops = rate * operations(config) / 1e12
        share = "-"
        if device == "cuda" and arguments.peak_tflops and config.precision == "bf16":
            share = f"{teraflops / arguments.peak_tflops:.1%}"
        size = f"{config.height}x{config.width}"
        print(f"{name:16}{size:>9}{config.batch_size:7}{config.precision:>11}{device:>8}", end="")
        print(f"{rate:10.1f}{wait:11.2%}{teraflops:9.3f}{share:>9}", flush=True)


if __name__ == "__main__":
    main()
