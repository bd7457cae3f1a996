"""StyleGAN3 on a GPU: parity, kernels beside the memory's bandwidth, seconds per 1,000 images.

    python benchmarks/stylegan3_gpu.py parity     # CPU, Triton and GPU matrices: the same numbers?
    python benchmarks/stylegan3_gpu.py kernels    # every nonlinearity of T and R at 256
    python benchmarks/stylegan3_gpu.py layouts    # channels_last, torch.compile, each against none
    python benchmarks/stylegan3_gpu.py steps      # s/kimg of T and R at 128, 256 and 256x128
    python benchmarks/stylegan3_gpu.py            # all of it

Each part takes minutes and prints every row when it is measured; a size that does not fit in memory
is a row of its own. It needs an installed lookalike, and PyTorch with CUDA. `--device cpu --quick`
tries the harness itself at a tiny size.

A step is what the trainer's step costs: the generator's forward and backward through the
discriminator, the discriminator's on fakes and reals, a sixteenth of R1; each with augmentation
(ADA at p = 0.5) and its optimiser, reals from memory as bytes, and the averaged generator. Config R
begins its training with blurred images: those rows are marked, and the published figures, of whole
trainings, stand beside the others. Snapshots are left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import cast

# Works from a bare checkout too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lookalike.config import AdaConfig
from lookalike.data.loading import to_tensor
from lookalike.stylegan3 import filtered_lrelu
from lookalike.stylegan3.augment import Augment
from lookalike.stylegan3.blur import blur, startup_sigma
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator, SynthesisLayer
from lookalike.stylegan3.loss import discriminator_loss, generator_loss, r1_penalty
from lookalike.training.ema import update_average

BATCH = 32
R1_INTERVAL = 16
ADA_P = 0.5
SIZES = ((128, 128), (256, 256), (256, 128))
CHANNEL_BASES = (32768, 16384)
TINY = GeneratorConfig(
    16, 8, z_dim=8, w_dim=8, channel_base=64, channel_max=8, num_layers=4, margin=2
)
PUBLISHED = {("T", 128): 27.2, ("T", 256): 49.8, ("R", 128): 34.2, ("R", 256): 56.7}
"""s/kimg on one A100 at batch 32 and channel_base 32768 (README of the original, 2021)."""
LIMITS = {torch.float32: (1e-5, 2e-3), torch.float16: (2e-3, 5e-2), torch.bfloat16: (1e-2, 5e-2)}
"""Of the result and of gradients: rounding flips the slope of samples close to zero."""


class Bench:
    """One device and precision."""

    def __init__(self, device: str, dtype: torch.dtype, quick: bool) -> None:
        self.device, self.dtype, self.quick = torch.device(device), dtype, quick
        self.cuda = self.device.type == "cuda"
        self.batch = 4 if quick else BATCH
        self.repeats = 1 if quick else 7

    def config(self, height: int, width: int, radial: bool, channel_base: int) -> GeneratorConfig:
        """Config R has twice the channels."""
        if self.quick:
            return replace(TINY, radial=radial)
        factor = 2 if radial else 1
        return GeneratorConfig(
            height,
            width,
            radial=radial,
            channel_base=factor * channel_base,
            channel_max=factor * 512,
        )

    def seconds(self, work: Callable[[], object]) -> float:
        """Median of the repeats, after runs that compile and warm up."""
        for _ in range(1 if self.quick else 2):
            work()
        taken = []
        for _ in range(self.repeats):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.cuda:
            torch.cuda.synchronize()

    def autocast(self) -> torch.autocast:
        """The trainer's mixed precision."""
        enabled = self.dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled)

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """Start a row; where the memory does not suffice, it says so."""
        print(f"{name:36}", end="", flush=True)
        try:
            yield
        except torch.OutOfMemoryError:
            print("  out of memory", flush=True)
        finally:
            if self.cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()


@contextmanager
def way_of(name: str) -> Iterator[None]:
    """Compute the nonlinearity "fused", which is the choice made for a GPU, or by "matrices"."""
    chosen = filtered_lrelu.fused_kernel
    if name == "matrices":
        filtered_lrelu.fused_kernel = lambda x: None
    try:
        yield
    finally:
        filtered_lrelu.fused_kernel = chosen


def layers_of(config: GeneratorConfig) -> list[SynthesisLayer]:
    """All but ToRGB, on the CPU."""
    return [cast(SynthesisLayer, layer) for layer in Generator(config).synthesis.layers[:-1]]


def nonlinearity(
    layer: SynthesisLayer, batch: int, device: torch.device, dtype: torch.dtype
) -> tuple[Callable[[], Tensor], tuple[Tensor, ...], Tensor]:
    """A layer's filtered lrelu: a call, what it is differentiated by, and a cotangent.

    Inputs are multiples of 1/4, which every precision represents.
    """
    random = torch.Generator().manual_seed(0)
    full = torch.promote_types(dtype, torch.float32)
    up, down = (deepcopy(r).to(device, full) for r in (layer.up, layer.down))
    channels = layer.design.out_channels

    def draw(precision: torch.dtype, *shape: int) -> Tensor:
        values = (torch.randn(shape, generator=random) * 4).round() / 4
        return values.to(device, precision).requires_grad_()

    x = draw(dtype, batch, channels, *up.in_size)
    scale, bias = draw(full, batch, channels), draw(full, channels)
    cotangent = draw(dtype, batch, channels, *down.out_size).detach()

    def call() -> Tensor:
        return filtered_lrelu.resampled_lrelu(x, scale, bias, up, down, 0.2, 256.0)

    return call, (x, scale, bias), cotangent


def difference(actual: Tensor, expected: Tensor) -> float:
    """Root mean square, relative to that of the expected."""
    expected = expected.detach().double().cpu()
    error = actual.detach().double().cpu() - expected
    return float(error.square().mean().sqrt() / expected.square().mean().sqrt())


def parity(bench: Bench) -> None:
    """Every layer on the device, fused and by matrices, against float64 on the CPU."""
    print(f"{'relative error (root mean square)':36}{'y':>9}{'grad x':>9}{'scale':>9}{'bias':>9}")
    disagree = False
    for radial in (False, True):
        config = bench.config(128, 64, radial, 512)
        for index, layer in enumerate(layers_of(replace(config, channel_max=8))):
            call, inputs, cotangent = nonlinearity(layer, 3, torch.device("cpu"), torch.float64)
            y = call()
            expected = y, *torch.autograd.grad(y, inputs, cotangent)
            for dtype, (limit, gradient_limit) in LIMITS.items():
                for way in ("fused", "matrices"):
                    name = f"{'R' if radial else 'T'} {index} {str(dtype)[6:]} {way}"
                    with bench.row(name), way_of(way):
                        call, inputs, cotangent = nonlinearity(layer, 3, bench.device, dtype)
                        y = call()
                        actual = y, *torch.autograd.grad(y, inputs, cotangent)
                        errors = [difference(*pair) for pair in zip(actual, expected, strict=True)]
                        good = errors[0] <= limit and max(errors[1:]) <= gradient_limit
                        disagree |= not good
                        numbers = "".join(f"{error:9.1e}" for error in errors)
                        print(numbers + ("" if good else "  WRONG"), flush=True)
    if disagree:
        raise SystemExit("the ways disagree")


def bandwidth(bench: Bench) -> float:
    """Bytes per second that a large copy reads and writes."""
    source = torch.empty(2**20 if bench.quick else 2**30, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    return 2 * source.numel() / bench.seconds(lambda: target.copy_(source))


def kernels(bench: Bench) -> None:
    """Every nonlinearity of T and R at 256, beside the time its inputs and outputs need."""
    speed = bandwidth(bench)
    print(f"a copy moves {speed / 1e9:.0f} GB/s; floor: planes read and written once at that rate")
    head = "".join(f"{name:>12}" for name in ("forward ms", "floor", "backward", "floor"))
    print(f"{'':36}{head}")
    for radial in (False, True):
        for index, layer in enumerate(layers_of(bench.config(256, 256, radial, CHANNEL_BASES[0]))):
            dtype = bench.dtype if layer.reduced else torch.float32
            for way in ("fused", "matrices"):
                name = f"{'R' if radial else 'T'} {index} {layer.design.out_size} {str(dtype)[6:]}"
                with bench.row(f"{name} {way}"), way_of(way):
                    call, inputs, cotangent = nonlinearity(layer, bench.batch, bench.device, dtype)
                    forward = bench.seconds(call)
                    y = call()
                    backward = bench.seconds(
                        lambda y=y, inputs=inputs, cotangent=cotangent: torch.autograd.grad(
                            y, inputs, cotangent, retain_graph=True
                        )
                    )
                    planes = inputs[0].nbytes, y.nbytes
                    floors = sum(planes) / speed, (2 * planes[0] + planes[1]) / speed
                    numbers = (forward, floors[0], backward, floors[1])
                    print("".join(f"{1e3 * number:12.3f}" for number in numbers), flush=True)
                    del call, y, inputs, cotangent


def layouts(bench: Bench) -> None:
    """Where channels_last and torch.compile help: T at 256, channel_base 16384."""
    config = bench.config(256, 256, False, CHANNEL_BASES[1])
    print(f"{'forward and backward, ms':36}{'contiguous':>14}{'channels_last':>14}")
    for index, layer in enumerate(layers_of(config)):
        with bench.row(f"convolution {index} {layer.design.in_size}"):
            design = layer.design
            shape = (bench.batch, design.in_channels, *design.in_size)
            for layout in (torch.contiguous_format, torch.channels_last):
                x, weight = (
                    torch.randn(size, device=bench.device, dtype=bench.dtype)
                    .contiguous(memory_format=layout)
                    .requires_grad_()
                    for size in (shape, layer.weight.shape)
                )
                taken = bench.seconds(lambda x=x, weight=weight: convolve(x, weight))
                print(f"{1e3 * taken:14.3f}", end="", flush=True)
            print()
    networks = network_pair(bench, config)
    z = torch.randn(bench.batch, config.z_dim, device=bench.device)
    images = torch.randn(bench.batch, 3, config.height, config.width, device=bench.device)
    for name, network, value in zip(("G", "D"), networks, (z, images), strict=True):
        for way, changed in (
            ("as it is", lambda network: network),
            ("channels_last", lambda network: deepcopy(network).to(memory_format=CHANNELS_LAST)),
            ("torch.compile", torch.compile),
        ):
            with bench.row(f"{name} {way}"):
                try:
                    work = changed(network)
                    inputs = value
                    if way == "channels_last" and value.ndim == 4:
                        inputs = value.contiguous(memory_format=CHANNELS_LAST)
                    taken = bench.seconds(lambda work=work, inputs=inputs: run(bench, work, inputs))
                    print(f"{1e3 * taken:14.3f}", flush=True)
                except torch.OutOfMemoryError:
                    raise
                except Exception as error:  # a compiler's, of any kind: a result too
                    print(f"  {type(error).__name__}: {str(error).splitlines()[:1]}", flush=True)


CHANNELS_LAST = torch.channels_last


def convolve(x: Tensor, weight: Tensor) -> None:
    """Forward and backward, padded as the generator does."""
    y = functional.conv2d(x, weight, padding=weight.shape[2] - 1)
    torch.autograd.grad(y, (x, weight), y.detach())


def run(bench: Bench, network: Callable[[Tensor], Tensor], value: Tensor) -> None:
    """Forward and backward."""
    with bench.autocast():
        result = network(value)
    result.sum().backward()


def network_pair(bench: Bench, config: GeneratorConfig) -> tuple[Generator, Discriminator]:
    """Generator and discriminator; R does not double the latter's channels."""
    factor = 2 if config.radial else 1
    torch.manual_seed(0)
    discriminator = Discriminator(
        config.height,
        config.width,
        channel_base=config.channel_base // factor,
        channel_max=config.channel_max // factor,
    )
    return Generator(config).to(bench.device), discriminator.to(bench.device)


def steps(bench: Bench) -> None:
    """The three phases of a training step."""
    head = "".join(f"{name:>9}" for name in ("G s", "D s", "R1 s", "s/kimg", "A100", "GiB"))
    print(f"{'':36}{head}")
    for channel_base in CHANNEL_BASES[: 1 if bench.quick else None]:
        for height, width in SIZES[: 1 if bench.quick else None]:
            for kind, blurred in (("T", False), ("R", False), ("R", True)):
                config = bench.config(height, width, kind == "R", channel_base)
                size = f"{config.height}x{config.width}"
                name = f"{kind} {size} channel_base {config.channel_base}"
                with bench.row(name + " blurred" * blurred):
                    phases = step_phases(bench, config, blurred)
                    taken = []
                    for phase in phases:
                        taken.append(bench.seconds(phase))
                        print(f"{taken[-1]:9.3f}", end="", flush=True)
                    total = taken[0] + taken[1] + taken[2] / R1_INTERVAL
                    published = PUBLISHED.get((kind, height)) if height == width else None
                    if channel_base != CHANNEL_BASES[0] or published is None or blurred:
                        published = float("nan")
                    peak = torch.cuda.max_memory_allocated() / 2**30 if bench.cuda else float("nan")
                    per_kimg = total * 1000 / bench.batch
                    print(f"{per_kimg:9.2f}{published:9.1f}{peak:9.2f}", flush=True)
                    del phases


def step_phases(bench: Bench, config: GeneratorConfig, blurred: bool) -> list[Callable[[], None]]:
    """Generator, discriminator, R1; each ends with its networks changed."""
    generator, discriminator = network_pair(bench, config)
    average = deepcopy(generator).eval().requires_grad_(False)
    transforms = AdaConfig.model_fields["transforms"].default
    augment = Augment(config.height, config.width, transforms).to(bench.device)
    adam = {
        network: torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.0, 0.99), eps=1e-8)
        for network in (generator, discriminator)
    }
    draw = np.random.default_rng(0)
    stored = draw.integers(0, 256, (bench.batch, config.height, config.width, 3), np.uint8)

    def latents() -> Tensor:
        return torch.randn(bench.batch, config.z_dim, device=bench.device)

    def judge(images: Tensor) -> Tensor:
        if blurred:
            images = blur(images, startup_sigma(0, bench.batch))
        strengths = augment.draw(bench.batch, ADA_P, bench.device)
        return cast(Tensor, discriminator(augment(images, strengths)))

    def train(which: torch.nn.Module) -> None:
        for network in (generator, discriminator):
            network.requires_grad_(network is which).zero_grad(set_to_none=True)

    def change(which: torch.nn.Module) -> None:
        for parameter in which.parameters():
            if parameter.grad is not None:
                torch.nan_to_num_(parameter.grad, 0.0, 1e5, -1e5)
        adam[which].step()

    def generator_phase() -> None:
        train(generator)
        with bench.autocast():
            logits = judge(generator(latents()))
        generator_loss(logits.float()).backward()
        change(generator)

    def discriminator_phase() -> None:
        train(discriminator)
        with bench.autocast():
            with torch.no_grad():
                fakes = generator(latents(), collect_statistics=True)
            fake_logits, real_logits = judge(fakes), judge(to_tensor(stored, bench.device))
        discriminator_loss(real_logits.float(), fake_logits.float()).backward()
        change(discriminator)
        generator.apply_statistics(generator.pending_statistics(), bench.batch)
        update_average(average, generator, 0.999)

    def r1_phase() -> None:
        train(discriminator)
        r1_penalty(judge, to_tensor(stored, bench.device)).mean().backward()
        change(discriminator)

    return [generator_phase, discriminator_phase, r1_phase]


PARTS = {"parity": parity, "kernels": kernels, "layouts": layouts, "steps": steps}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; none is all")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ..., or cpu for a trial")
    parser.add_argument(
        "--precision", choices=("bf16", "fp16", "fp32"), default="bf16", help="of the last octaves"
    )
    parser.add_argument("--quick", action="store_true", help="16x8 pixels, batch 4, one repeat")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.parts) - set(PARTS))
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    bench = Bench(arguments.device, dtypes[arguments.precision], arguments.quick)
    if bench.cuda and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU; --device cpu --quick tries the harness")
    name = torch.cuda.get_device_name(bench.device) if bench.cuda else "CPU"
    print(f"{name}, PyTorch {torch.__version__}, {arguments.precision}, batch {bench.batch}")
    for part in arguments.parts or PARTS:
        began = time.monotonic()
        print(f"\n{part}", flush=True)
        PARTS[part](bench)
        print(f"({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
