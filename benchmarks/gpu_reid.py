"""The parts of `gpu.py` beside StyleGAN3: ResNet50, ranking, the encoder, embedding and filters."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from gpu_bench import Bench, head
from gpu_stylegan3 import TINY
from torch.utils.flop_counter import FlopCounterMode

from lookalike.config import EncoderConfig, ReidConfig
from lookalike.data.loading import Images
from lookalike.data.population import render_crops
from lookalike.filtering.detectors.hog import HogDetector
from lookalike.filtering.detectors.yolov4_tiny import YoloDetector
from lookalike.filtering.ssim import ssim_to
from lookalike.filtering.untrained_yolo import write_untrained
from lookalike.inversion.checkpoint import new_encoder
from lookalike.profiles import compose
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import new_reid
from lookalike.reid.ranking import rank
from lookalike.reid.reranking import rerank
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.generator import Generator

ROOT = Path(__file__).resolve().parents[1]
PERSONS = 751
QUERIES, GALLERY, DIMENSIONS = 3368, 15913, 2048  # Market-1501's, of ResNet50's features
PEAKS = {"H100": 989, "H200": 989, "A100": 312}  # dense bf16 TFLOP/s, as published


def recipe(bench: Bench, name: str) -> ReidConfig:
    """The recipe of a profile; tiny for a trial."""
    config = compose(name, ROOT / "profiles").reid
    return config.model_copy(update={"height": 32, "width": 16}) if bench.quick else config


def resnet(bench: Bench) -> None:
    """ResNet50's training step, forwards and backwards, beside a large product of matrices."""
    side = 256 if bench.quick else 8192
    a = torch.randn(side, side, device=bench.device, dtype=bench.dtype)
    product = 2 * side**3 / bench.seconds(lambda: a @ a) / 1e12
    names = [name for name in PEAKS if bench.cuda and name in torch.cuda.get_device_name()]
    peak = PEAKS[names[0]] if names else float("nan")
    print(f"a product of {side}x{side} reaches {product:.4g} TFLOP/s; published peak {peak}")
    head("", "images/s", "TFLOP/s", "of product", "of peak", "GiB")
    for name in ("study", "strong"):
        config = recipe(bench, name)
        model = new_reid(config, PERSONS)
        shape = (3, config.height, config.width)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(2, *shape)).sum().backward()
        each = counter.get_total_flops() / 2
        model = model.to(bench.device)
        for batch in (4,) if bench.quick else (config.batch_size, 64, 256):
            x = torch.randn(batch, *shape, device=bench.device)
            y = torch.arange(batch, device=bench.device) % PERSONS

            def step(
                x: torch.Tensor = x, y: torch.Tensor = y, model: torch.nn.Module = model
            ) -> None:
                with bench.autocast():
                    loss = torch.nn.functional.cross_entropy(model(x), y)
                loss.backward()
                model.zero_grad(set_to_none=True)

            with bench.row(f"{name} {config.height}x{config.width} batch {batch}") as row:
                rate = batch / bench.seconds(step)
                reached = rate * each / 1e12
                bench.show(row, images_per_s=rate, tflops=reached)
                bench.show(row, of_product=reached / product, of_peak=reached / peak)
                bench.show(row, gib=bench.peak_gib())
                print(flush=True)


def ranking(bench: Bench) -> None:
    """Market-1501's test, ranked on the device; the product alone; re-ranked on the CPU."""
    queries, gallery, size = (20, 60, 16) if bench.quick else (QUERIES, GALLERY, DIMENSIONS)
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(queries // 4, size))
    persons = [np.arange(count) % len(centres) for count in (queries, gallery)]
    features = [
        (centres[of] + 1.5 * draw.normal(size=(len(of), size))).astype(np.float32) for of in persons
    ]
    cameras = [draw.integers(1, 7, len(of)) for of in persons]
    there = [torch.from_numpy(f).to(bench.device) for f in features]
    head("", "seconds")
    with bench.row("product alone") as row:
        bench.show(row, seconds=bench.seconds(lambda: there[0] @ there[1].T))
        print(flush=True)
    with bench.row("ranking") as row:
        bench.show(row, seconds=bench.seconds(lambda: rank(*there, *persons, *cameras)))
        print(flush=True)
    with bench.row("re-ranking (CPU)") as row:
        began = time.perf_counter()
        rerank(*features)
        bench.show(row, seconds=time.perf_counter() - began)
        print(flush=True)


def encoder(bench: Bench) -> None:
    """The encoder's step (without its perceptual loss) and inversion, at the profile's canvas."""
    profile = compose("market1501", ROOT / "profiles")
    gan, settings = profile.gan, profile.encoder
    design = GeneratorConfig(
        gan.height,
        gan.width,
        channel_base=gan.channel_base,
        channel_max=gan.channel_max,
        num_layers=gan.num_layers,
    )
    if bench.quick:
        design, settings = (
            replace(TINY, height=32, width=16),
            EncoderConfig(start="none", structure_styles=0, channels=4, steps=2),
        )
    generator = Generator(design).to(bench.device)
    network = new_encoder(settings, generator)
    batch = 2 if bench.quick else settings.batch_size
    images = torch.rand(batch, 3, design.height, design.width, device=bench.device) * 2 - 1

    def step() -> None:
        with bench.autocast():
            for _, drawn in network.refinements(images, images):
                (drawn.float() - images).square().mean().backward()
        network.network.zero_grad(set_to_none=True)

    head("", "images/s", "GiB")
    for name, work in (("training step", step), ("inversion", lambda: network.invert(images))):
        with bench.row(f"{name} {design.height}x{design.width} batch {batch}") as row:
            bench.show(row, images_per_s=batch / bench.seconds(work), gib=bench.peak_gib())
            print(flush=True)


def filters(bench: Bench) -> None:
    """Images a second of each filter: the embeddings, YOLOv4-tiny, HOG, SSIM."""
    persons, each = (2, 4) if bench.quick else (128, 8)
    workers = 1 if bench.quick else None
    crops = render_crops(1, persons, each, 128, 64, workers=workers, progress=False)
    first = np.repeat(np.arange(persons) * each, each).tolist()
    config = recipe(bench, "study")
    embedder = Embedder(new_reid(config, PERSONS), device=bench.device)

    def rate(name: str, work: object, images: Images = crops) -> None:
        assert callable(work)
        with bench.row(name) as row:
            bench.show(row, images_per_s=len(images) / bench.seconds(work))
            print(flush=True)

    head("", "images/s")
    rate(f"embedding {config.height}x{config.width}", lambda: embedder.embed(crops))
    with tempfile.TemporaryDirectory() as folder:
        files = write_untrained(Path(folder))
        yolo = YoloDetector(*files, size=64 if bench.quick else 416, device=bench.device)
    rate("yolov4-tiny", lambda: yolo.score(crops))
    rate("hog (CPU)", lambda: HogDetector().score(crops))
    rate("ssim (CPU)", lambda: ssim_to(crops, first))
