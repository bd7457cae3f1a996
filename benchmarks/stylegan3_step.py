"""A training step of the StyleGAN3-T generator on a CPU, against the straightforward way.

Forward and backward at 64x64, channel_base 4096, channel_max 128, batch 8, three ways with the same
weights and latents, in turns:

- straightforward: weights modulated per sample and a grouped convolution; zeros inserted, padded,
  one depthwise convolution per axis and filter, decimated by slicing (Karras et al. 2021, figure
  4b, step by step);
- ours: `lookalike.stylegan3.generator`;
- the convolutions alone: what is left if all else were free.

Images and gradients of the first two are compared before anything is timed. The fastest of the
repeats counts, in CPU seconds over all threads, which a busy machine falsifies least; the seconds
that the operating system spends on handing out memory are part of them and shown apart.

    python benchmarks/stylegan3_step.py            # a few minutes, 8 GB
    python benchmarks/stylegan3_step.py --quick    # 16x8 pixels, a second; its ratio says little

Where other work keeps cores busy, set OMP_NUM_THREADS to the number of idle ones: threads that wait
for each other wait for the busy ones.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.filters import design_lowpass
from lookalike.stylegan3.generator import IMAGE_GAIN, Generator, SynthesisLayer
from lookalike.stylegan3.layers import ACTIVATION_CLAMP, EPSILON, LRELU_GAIN, LRELU_SLOPE

FULL = GeneratorConfig(64, 64, channel_base=4096, channel_max=128)
QUICK = GeneratorConfig(
    16, 8, z_dim=16, w_dim=16, channel_base=64, channel_max=8, num_layers=4, margin=2
)
TOLERANCE = 1e-3
"""Of the largest value, in float32 through fourteen layers."""
TIME_LIMIT = 240
"""Seconds after which no further repeat begins."""


def straightforward(generator: Generator, z: Tensor) -> Tensor:
    """The images of `generator`, the slow way."""
    ws = generator.mapping(z)
    x: Tensor = generator.synthesis.input(ws[:, 0])
    for layer, w in zip(generator.synthesis.layers, ws.unbind(1)[1:], strict=True):
        assert isinstance(layer, SynthesisLayer)
        x = straightforward_layer(layer, x, w)
    return x * IMAGE_GAIN


def straightforward_layer(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    """Modulate the weights of every sample, convolve in groups, filter tap by tap."""
    design, style, weight = layer.design, layer.affine(w), layer.weight
    if design.is_torgb:
        style = style / design.in_channels**0.5
    else:
        weight = weight * (weight.square().mean((1, 2, 3), keepdim=True) + EPSILON).rsqrt()
        style = style * (style.square().mean(1, keepdim=True) + EPSILON).rsqrt()
    modulated = weight[None] * style[:, None, :, None, None]
    if not design.is_torgb:
        modulated = modulated * (modulated.square().sum((2, 3, 4), keepdim=True) + EPSILON).rsqrt()
    modulated = modulated * layer.magnitude_ema.rsqrt()
    count, _, height, width = x.shape
    x = functional.conv2d(
        x.reshape(1, -1, height, width),
        modulated.flatten(0, 1),
        padding=design.conv_kernel - 1,
        groups=count,
    )
    x = x.view(count, -1, *x.shape[2:]) + layer.bias[:, None, None]
    if design.is_torgb:
        return x.clamp(-ACTIVATION_CLAMP, ACTIVATION_CLAMP)

    rate, up, down = design.tmp_sampling_rate, design.up_factor, design.down_factor
    up_taps = design_lowpass(design.up_taps, design.in_cutoff, design.in_half_width, rate)
    down_taps = design_lowpass(design.down_taps, design.out_cutoff, design.out_half_width, rate)
    count, channels, height, width = x.shape
    zeros = x.new_zeros(count, channels, height, up, width, up)
    zeros[:, :, :, 0, :, 0] = x
    x = functional.pad(zeros.view(count, channels, height * up, width * up), design.padding)
    x = depthwise(x, torch.from_numpy(up_taps * up).float())
    x = functional.leaky_relu(x, LRELU_SLOPE) * LRELU_GAIN
    x = x.clamp(-ACTIVATION_CLAMP, ACTIVATION_CLAMP)
    x = depthwise(x, torch.from_numpy(down_taps).float())
    return x[:, :, ::down, ::down]


def depthwise(x: Tensor, taps: Tensor) -> Tensor:
    """Convolve every channel with the taps, one axis after the other."""
    channels = x.shape[1]
    column = taps.flip(0)[None, None, :, None].repeat(channels, 1, 1, 1)
    x = functional.conv2d(x, column, groups=channels)
    return functional.conv2d(x, column.mT, groups=channels)


class Convolutions:
    """Forward and backward of the generator's convolutions, on random inputs."""

    def __init__(self, generator: Generator, batch: int) -> None:
        self.cases = []
        for layer in generator.synthesis.layers:
            assert isinstance(layer, SynthesisLayer)
            design = layer.design
            padding = design.conv_kernel - 1
            x = torch.randn(batch, design.in_channels, *design.in_size, requires_grad=True)
            grad = torch.randn(batch, design.out_channels, *(s + padding for s in design.in_size))
            self.cases.append((x, layer.weight.detach().requires_grad_(), grad, padding))

    def __call__(self) -> None:
        """One step."""
        for x, weight, grad, padding in self.cases:
            y = functional.conv2d(x, weight, padding=padding)
            torch.autograd.grad(y, (x, weight), grad)


def step(render: Callable[[Tensor], Tensor], generator: Generator, z: Tensor) -> Tensor:
    """Images, after gradients of every parameter were left in place."""
    generator.zero_grad()
    images = render(z)
    # Any cotangent will do that does not cancel.
    images.backward(torch.linspace(-1, 1, images.numel()).view_as(images))
    return images.detach()


def check(generator: Generator, z: Tensor) -> float:
    """The largest difference of images and gradients, relative to their largest value."""
    ours, theirs = {}, {}
    for results, render in ((ours, generator), (theirs, lambda z: straightforward(generator, z))):
        results["images"] = step(render, generator, z)
        results |= {
            name: parameter.grad.clone()
            for name, parameter in generator.named_parameters()
            if parameter.grad is not None
        }
    if ours.keys() != theirs.keys():
        raise SystemExit("not the same gradients")
    worst = {
        name: float((ours[name] - theirs[name]).abs().max() / theirs[name].abs().max())
        for name in ours
    }
    name, difference = max(worst.items(), key=lambda item: item[1])
    if not difference <= TOLERANCE:
        raise SystemExit(f"the two ways disagree: {name} by {difference:.1e}")
    return difference


class Seconds(NamedTuple):
    """What one step took; compared by the first."""

    cpu: float
    system: float
    wall: float


def measure(work: Callable[[], object]) -> Seconds:
    """One run."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    return Seconds(after.ru_utime - before.ru_utime + system, system, wall)


def main() -> None:
    """Check, measure in turns, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="16x8 pixels, one repeat")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts (3)")
    arguments = parser.parse_args()
    config, batch = (QUICK, 2) if arguments.quick else (FULL, 8)

    torch.manual_seed(0)
    generator = Generator(config)
    z = torch.randn(batch, config.z_dim)
    print(
        f"StyleGAN3-T {config.height}x{config.width}, channel_base {config.channel_base}, "
        f"channel_max {config.channel_max}, batch {batch}, forward and backward; "
        f"{torch.get_num_threads()} threads of {os.cpu_count()}",
        flush=True,
    )
    difference = check(generator, z[:2])
    print(f"images and gradients differ by at most {difference:.1e}", flush=True)

    ways: dict[str, Callable[[], object]] = {
        "straightforward": lambda: step(lambda z: straightforward(generator, z), generator, z),
        "ours": lambda: step(generator, generator, z),
        "convolutions alone": Convolutions(generator, batch),
    }
    fastest: dict[str, Seconds] = {}
    began = time.monotonic()
    for repeat in range(1 if arguments.quick else arguments.repeats):
        if repeat and time.monotonic() - began > TIME_LIMIT:
            break
        for way, work in ways.items():
            fastest[way] = min(measure(work), fastest.get(way, Seconds(float("inf"), 0, 0)))

    ours = fastest["ours"].cpu
    print(f"{'':20}{'CPU seconds':>12}{'of them system':>16}{'wall':>8}{'of ours':>10}")
    for way, seconds in fastest.items():
        print(
            f"{way:20}{seconds.cpu:12.2f}{seconds.system:16.2f}{seconds.wall:8.2f}"
            f"{seconds.cpu / ours:9.2f}x"
        )
    print(f"over the convolutions alone: {ours / fastest['convolutions alone'].cpu:.2f}x")
    print(f"faster than the straightforward way: {fastest['straightforward'].cpu / ours:.1f}x")


if __name__ == "__main__":
    main()
