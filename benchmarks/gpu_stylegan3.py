"""StyleGAN3's parts of `gpu.py`: parity, seconds per 1,000 images, kernels, layouts.

A step is what the trainer's step costs: the generator's forward and backward through the
discriminator, the discriminator's on fakes and reals, a sixteenth of R1; each with augmentation
(ADA at p = 0.5) and its optimiser, reals from memory as bytes, and the averaged generator. Config R
begins its training with blurred images: those rows are marked, and the published figures, of whole
trainings, stand beside the others. Snapshots are left out.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from gpu_bench import Bench, Row, head
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
from lookalike.stylegan3.resampling import Resampler
from lookalike.training.ema import update_average

BATCH = 32
PARITY_BATCH = 3
GOLDEN_BATCH = 3  # of the recorded latents
R1_INTERVAL = 16
ADA_P = 0.5
CANVAS = 256, 128  # the market1501 profile's
SIZES = (CANVAS, (256, 256), (128, 128))
CHANNEL_BASES = (32768, 16384)
ROOT = Path(__file__).resolve().parents[1]
GOLDEN = GeneratorConfig(64, 64, z_dim=32, w_dim=32, channel_base=1024, channel_max=32)
GOLDEN_LIMIT = 1e-3
TINY = GeneratorConfig(
    16, 8, z_dim=8, w_dim=8, channel_base=64, channel_max=8, num_layers=4, margin=2
)
PUBLISHED = {("T", 128): 27.2, ("T", 256): 49.8, ("R", 128): 34.2, ("R", 256): 56.7}
"""s/kimg on one A100 at batch 32 and channel_base 32768 (README of the original, 2021)."""
LIMITS = {torch.float32: (1e-5, 2e-3), torch.float16: (2e-3, 5e-2), torch.bfloat16: (1e-2, 5e-2)}
"""Of the result and of gradients: rounding flips the slope of samples close to zero."""


def config_of(
    bench: Bench, height: int, width: int, radial: bool, channel_base: int
) -> GeneratorConfig:
    """Config R has twice the channels."""
    if bench.quick:
        return replace(TINY, radial=radial)
    factor = 2 if radial else 1
    return GeneratorConfig(
        height,
        width,
        radial=radial,
        channel_base=factor * channel_base,
        channel_max=factor * 512,
    )


def batch_of(bench: Bench) -> int:
    """Images at once."""
    return 4 if bench.quick else BATCH


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


def way_in_use(bench: Bench) -> str:
    """What computes the nonlinearity here: a GPU without a C compiler has no kernels, say."""
    x = torch.zeros(1, 1, 1, 1, device=bench.device, dtype=bench.dtype)
    return "matrices" if filtered_lrelu.fused_kernel(x) is None else "Triton"


@dataclass(frozen=True)
class Shape:
    """A layer's nonlinearity: its resamplers, channels, images at once, and precision."""

    up: Resampler
    down: Resampler
    channels: int
    batch: int
    dtype: torch.dtype

    @classmethod
    def of(cls, layer: SynthesisLayer, batch: int, dtype: torch.dtype) -> Shape:
        """That of a layer."""
        return cls(layer.up, layer.down, layer.design.out_channels, batch, dtype)

    @property
    def kernels(self) -> tuple[object, ...]:
        """Equal where the compiled kernels are: Triton looks whether 16 divides a number."""
        sizes = (*self.up.in_size, *self.up.out_size, *self.down.out_size)
        terms = len(self.up.rows), len(self.down.rows)
        divided = self.channels % 16, self.batch * self.channels % 16
        return (*sizes, *terms, *(rest == 0 for rest in divided), self.dtype)


def nonlinearity(
    shape: Shape, device: torch.device
) -> tuple[Callable[[], Tensor], tuple[Tensor, ...], Tensor]:
    """A filtered lrelu: a call, what it is differentiated by, and a cotangent.

    Inputs are multiples of 1/4, which every precision represents.
    """
    random = torch.Generator().manual_seed(0)
    dtype, batch, channels = shape.dtype, shape.batch, shape.channels
    full = torch.promote_types(dtype, torch.float32)
    up, down = (deepcopy(r).to(device, full) for r in (shape.up, shape.down))

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


def needed(bench: Bench) -> list[Shape]:
    """One shape for all that have the same kernels, of the golden numbers, parity and steps."""
    shapes = [Shape.of(layer, GOLDEN_BATCH, torch.float32) for layer in layers_of(GOLDEN)]
    configs = [
        config_of(bench, *size, radial, base)
        for base in CHANNEL_BASES
        for radial in (False, True)
        for size in SIZES
    ]
    for config in dict.fromkeys(configs):
        for layer in layers_of(config):
            dtype = bench.dtype if layer.reduced else torch.float32
            # Whole batches of large planes would fill the memory, with a process for each core.
            batch = 1 if layer.design.out_channels % 16 == 0 else 16
            shapes.append(Shape.of(layer, batch, dtype))
    for radial in (False, True):
        for layer in parity_layers(bench, radial):
            shapes += [Shape.of(layer, PARITY_BATCH, dtype) for dtype in LIMITS]
    return list({shape.kernels: shape for shape in shapes}.values())


def compile_kernels(bench: Bench) -> None:
    """Each once, in processes; Triton keeps what it compiles on the disk, for this process too."""
    shapes = needed(bench)[: 4 if bench.quick else None]
    cores = 1 if bench.quick else len(os.sched_getaffinity(0))
    spawn = multiprocessing.get_context("spawn")
    head("", "shapes", "seconds")
    with bench.row("all") as row, ProcessPoolExecutor(cores, mp_context=spawn) as pool:
        began = time.perf_counter()
        jobs = [pool.submit(_both_ways, shape, bench.device) for shape in shapes]
        for job in jobs:
            job.result()
        bench.show(row, shapes=len(shapes), seconds=time.perf_counter() - began)
        print(flush=True)


def _both_ways(shape: Shape, device: torch.device) -> None:
    """Forwards and backwards."""
    call, inputs, cotangent = nonlinearity(shape, device)
    torch.autograd.grad(call(), inputs, cotangent)


def parity_layers(bench: Bench, radial: bool) -> list[SynthesisLayer]:
    """All of a narrow network's."""
    return layers_of(replace(config_of(bench, 128, 64, radial, 512), channel_max=8))


PARITY = ("y", "grad_x", "grad_scale", "grad_bias")


def golden(bench: Bench) -> None:
    """The recorded numbers of the established implementation, and gradients beside the CPU's."""
    sys.path.insert(0, str(ROOT / "tests" / "unit" / "stylegan3"))
    from golden import discriminator_state, generator_state, load  # type: ignore[import-not-found]

    arrays, judged = load("stylegan3_t_64.npz"), load("discriminator_64.npz")
    generator = Generator(GOLDEN).eval()
    generator.load_state_dict(generator_state(arrays))
    discriminator = Discriminator(64, 64, channel_base=512, channel_max=16)
    discriminator.load_state_dict(discriminator_state(judged))

    def numbers(device: torch.device) -> dict[str, Tensor]:
        own, critic = deepcopy(generator).to(device), deepcopy(discriminator).to(device)
        given = {name: arrays[name].to(device) for name in ("z", "ws", "transform")}
        x = judged["x"].to(device)
        image = own(given["z"])
        logits = critic(x)
        cotangent = torch.linspace(-1, 1, image.numel(), device=device).view_as(image)
        image_gradients = torch.autograd.grad(image, list(own.parameters()), cotangent)
        logit_gradients = torch.autograd.grad(logits.sum(), list(critic.parameters()))
        return {
            "image": image,
            "image_transformed": own.synthesis(given["ws"], transform=given["transform"]),
            "logits": logits,
            "r1_penalty": r1_penalty(critic, x),
            "gradients of G": torch.cat([g.flatten() for g in image_gradients]),
            "gradients of D": torch.cat([g.flatten() for g in logit_gradients]),
        }

    on_cpu = numbers(torch.device("cpu"))
    head("largest error, of the range", "error", "limit")
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    disagree = False
    for way in ("fused", "matrices"):
        found: dict[str, Tensor] = {}
        with bench.guarded(way), way_of(way):
            found = numbers(bench.device)
        for name, value in found.items():
            recorded = arrays | judged
            expected = recorded[name] if name in recorded else on_cpu[name]
            with bench.row(f"{name} {way}") as row:
                span = float(expected.max() - expected.min())
                error = float((value.detach().cpu() - expected.detach()).abs().max()) / span
                bench.show(row, error=error, limit=GOLDEN_LIMIT)
                row["good"] = error <= GOLDEN_LIMIT
                disagree |= error > GOLDEN_LIMIT
                print("" if row["good"] else "  WRONG", flush=True)
    torch.backends.cudnn.allow_tf32 = before
    if disagree:
        raise SystemExit("the golden numbers are missed")


def parity(bench: Bench) -> None:
    """Every layer on the device, fused and by matrices, against float64 on the CPU."""
    head("relative error (root mean square)", *PARITY)
    disagree = False
    for radial in (False, True):
        for index, layer in enumerate(parity_layers(bench, radial)):
            exact = Shape.of(layer, PARITY_BATCH, torch.float64)
            call, inputs, cotangent = nonlinearity(exact, torch.device("cpu"))
            y = call()
            expected = y, *torch.autograd.grad(y, inputs, cotangent)
            for dtype, (limit, gradient_limit) in LIMITS.items():
                for way in ("fused", "matrices"):
                    name = f"{'R' if radial else 'T'} {index} {str(dtype)[6:]} {way}"
                    with bench.row(name) as row, way_of(way):
                        shape = Shape.of(layer, PARITY_BATCH, dtype)
                        call, inputs, cotangent = nonlinearity(shape, bench.device)
                        y = call()
                        actual = y, *torch.autograd.grad(y, inputs, cotangent)
                        errors = [difference(*pair) for pair in zip(actual, expected, strict=True)]
                        good = errors[0] <= limit and max(errors[1:]) <= gradient_limit
                        disagree |= not good
                        row["good"] = good
                        bench.show(row, **dict(zip(PARITY, errors, strict=True)))
                        print("" if good else "  WRONG", flush=True)
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
    head("", "forward ms", "floor", "backward", "floor")
    for radial in (False, True):
        for index, layer in enumerate(
            layers_of(config_of(bench, 256, 256, radial, CHANNEL_BASES[0]))
        ):
            dtype = bench.dtype if layer.reduced else torch.float32
            for way in ("fused", "matrices"):
                name = f"{'R' if radial else 'T'} {index} {layer.design.out_size} {str(dtype)[6:]}"
                with bench.row(f"{name} {way}") as row, way_of(way):
                    shape = Shape.of(layer, batch_of(bench), dtype)
                    call, inputs, cotangent = nonlinearity(shape, bench.device)
                    forward = bench.seconds(call)
                    y = call()
                    backward = bench.seconds(
                        lambda y=y, inputs=inputs, cotangent=cotangent: torch.autograd.grad(
                            y, inputs, cotangent, retain_graph=True
                        )
                    )
                    planes = inputs[0].nbytes, y.nbytes
                    floors = sum(planes) / speed, (2 * planes[0] + planes[1]) / speed
                    bench.show(
                        row,
                        forward_ms=1e3 * forward,
                        forward_floor_ms=1e3 * floors[0],
                        backward_ms=1e3 * backward,
                        backward_floor_ms=1e3 * floors[1],
                    )
                    print(flush=True)
                    del call, y, inputs, cotangent


def layouts(bench: Bench) -> None:
    """Where channels_last and torch.compile help: T at 256, channel_base 16384."""
    config = config_of(bench, 256, 256, False, CHANNEL_BASES[1])
    head("forward and backward, ms", "contiguous", "chan._last")
    for index, layer in enumerate(layers_of(config)):
        with bench.row(f"convolution {index} {layer.design.in_size}") as row:
            design = layer.design
            shape = (batch_of(bench), design.in_channels, *design.in_size)
            for layout in (torch.contiguous_format, torch.channels_last):
                x, weight = (
                    torch.randn(size, device=bench.device, dtype=bench.dtype)
                    .contiguous(memory_format=layout)
                    .requires_grad_()
                    for size in (shape, layer.weight.shape)
                )
                taken = bench.seconds(lambda x=x, weight=weight: convolve(x, weight))
                bench.show(row, **{f"{str(layout).partition('.')[2]}_ms": 1e3 * taken})
            print()
    networks = network_pair(bench, config)
    z = torch.randn(batch_of(bench), config.z_dim, device=bench.device)
    images = torch.randn(batch_of(bench), 3, config.height, config.width, device=bench.device)
    for name, network, value in zip(("G", "D"), networks, (z, images), strict=True):
        for way, changed in (
            ("as it is", lambda network: network),
            ("channels_last", lambda network: deepcopy(network).to(memory_format=CHANNELS_LAST)),
            ("torch.compile", torch.compile),
        ):
            with bench.row(f"{name} {way}") as row:
                try:
                    work = changed(network)
                    inputs = value
                    if way == "channels_last" and value.ndim == 4:
                        inputs = value.contiguous(memory_format=CHANNELS_LAST)
                    taken = bench.seconds(lambda work=work, inputs=inputs: run(bench, work, inputs))
                    bench.show(row, ms=1e3 * taken)
                    print(flush=True)
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
    """The three phases of a training step, and its convolutions without anything else."""
    head("", "G s", "D s", "R1 s", "s/kimg", "A100", "G convs", "GiB")
    for channel_base in CHANNEL_BASES[: 1 if bench.quick else None]:
        for height, width in SIZES[: 1 if bench.quick else None]:
            for kind, blurred in (("T", False), ("R", False), ("R", True)):
                if blurred and not bench.quick and (height, width) != CANVAS:
                    continue
                config = config_of(bench, height, width, kind == "R", channel_base)
                size = f"{config.height}x{config.width}"
                name = f"{kind} {size} channel_base {config.channel_base}"
                compared = channel_base == CHANNEL_BASES[0] and height == width and not blurred
                published = PUBLISHED.get((kind, height)) if compared else None
                with bench.row(name + " blurred" * blurred) as row:
                    measure_step(bench, row, config, blurred, None if bench.quick else published)
                    print(flush=True)


def measure_step(
    bench: Bench, row: Row, config: GeneratorConfig, blurred: bool, published: float | None
) -> None:
    """One row of `steps`. Its networks are gone afterwards, so that the next has the memory."""
    phases = step_phases(bench, config, blurred)
    taken = []
    for phase, what in zip(phases, ("g_s", "d_s", "r1_s"), strict=True):
        taken.append(bench.seconds(phase))
        bench.show(row, **{what: taken[-1]})
    total = taken[0] + taken[1] + taken[2] / R1_INTERVAL
    peak = bench.peak_gib()
    bench.show(row, s_per_kimg=total * 1000 / batch_of(bench), a100=published or float("nan"))
    bench.show(row, g_convolutions_s=convolutions(bench, config), gib=peak)


def convolutions(bench: Bench, config: GeneratorConfig) -> float:
    """Seconds of the generator's convolutions alone, forwards and backwards."""
    total = 0.0
    for layer in layers_of(config):
        dtype = bench.dtype if layer.reduced else torch.float32
        shape = (batch_of(bench), layer.design.in_channels, *layer.design.in_size)
        x, weight = (
            torch.randn(size, device=bench.device, dtype=dtype).requires_grad_()
            for size in (shape, layer.weight.shape)
        )
        total += bench.seconds(lambda x=x, weight=weight: convolve(x, weight))
    return total


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
    stored = draw.integers(0, 256, (batch_of(bench), config.height, config.width, 3), np.uint8)

    def latents() -> Tensor:
        return torch.randn(batch_of(bench), config.z_dim, device=bench.device)

    def judge(images: Tensor) -> Tensor:
        if blurred:
            images = blur(images, startup_sigma(0, batch_of(bench)))
        strengths = augment.draw(batch_of(bench), ADA_P, bench.device)
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
        generator.apply_statistics(generator.pending_statistics(), batch_of(bench))
        update_average(average, generator, 0.999)

    def r1_phase() -> None:
        train(discriminator)
        r1_penalty(judge, to_tensor(stored, bench.device)).mean().backward()
        change(discriminator)

    return [generator_phase, discriminator_phase, r1_phase]
