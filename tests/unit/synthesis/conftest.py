from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lookalike.config import EncoderConfig, GenerateConfig, PersonsConfig, VariationsConfig
from lookalike.data.loading import encode_jpeg
from lookalike.data.manifest import new_manifest, read_manifest, write_manifest
from lookalike.inversion.checkpoint import new_encoder
from lookalike.inversion.encoder import Encoder
from lookalike.stylegan3.generator import Generator
from lookalike.synthesis.latents import layer_group
from lookalike.synthesis.recipes import PlannedImage
from lookalike.synthesis.rendering import Destination, Latents, Reals, render
from lookalike.training.session import Session


@pytest.fixture
def generator(vivid_generator: Generator) -> Generator:
    return vivid_generator


@pytest.fixture
def encoder(generator: Generator) -> Encoder:
    """ReStyle-pSp in two steps."""
    return untrained(generator, structure_styles=0, steps=2)


@pytest.fixture
def two_codes(generator: Generator) -> Encoder:
    """Structure in the styles that are called so, appearance in the others."""
    structure = len(layer_group("structure", generator.num_ws))
    return untrained(generator, structure_styles=structure, steps=1)


def untrained(generator: Generator, structure_styles: int, steps: int) -> Encoder:
    """With heads that react to the image."""
    config = EncoderConfig(
        start="none",
        structure_styles=structure_styles,
        channels=8,
        steps=steps,
        total_images=8,
        batch_size=4,
        micro_batch=4,
        learning_rate=0.001,
        l2=1.0,
        perceptual=0.8,
        perceptual_backbone="random",
        identity=0.1,
        latent_norm=0.001,
        checkpoint_images=8,
        precision="fp32",
    )
    torch.manual_seed(3)
    encoder = new_encoder(config, generator)
    torch.nn.init.normal_(encoder.network.head_weight)
    return encoder


@pytest.fixture
def generate() -> GenerateConfig:
    return GenerateConfig(
        height=48,
        width=24,
        batch_size=4,
        persons=PersonsConfig(
            count=3,
            images_per_person=5,
            first_seed=1000,
            truncation_psi=0.8,
            dressed=False,
            group="medium",
            interpolation=0.5,
        ),
        variations=VariationsConfig(
            images_per_person=5, truncation_psi=0.7, group="fine", crosses=0.2, interpolation=0.4
        ),
    )


@pytest.fixture
def to(tmp_path: Path) -> Destination:
    return Destination(Path("artifacts/images.zip"), tmp_path, Session(seed=1), "g" * 64)


@pytest.fixture
def come_back(generate: GenerateConfig, to: Destination) -> Callable[..., None]:
    """Whether every image of a manifest is drawn again from its row, to the byte."""

    def check(
        manifest: pd.DataFrame, latents: Latents, generator: Generator, reals: Reals | None = None
    ) -> None:
        write_manifest(manifest, to.root / "manifest.parquet")
        rows = read_manifest(to.root / "manifest.parquet").to_dict("records")
        with zipfile.ZipFile(to.root / to.archive) as file:
            for row in rows:
                (data,) = render([PlannedImage.from_row(row)], latents, generator, generate, reals)
                assert data == file.read(row["member"]), row["recipe"]

    return check


@pytest.fixture
def sources(tmp_path: Path) -> pd.DataFrame:
    """Real training images on disk: two persons with three images, one with a single one."""
    draw = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for person, count in (("0002", 3), ("0007", 3), ("0011", 1)):
        for index in range(count):
            name = f"{person}_c1s1_{index:06d}_01"
            image = np.full((48, 24, 3), draw.integers(0, 256, 3), np.uint8)
            image[6:42, 8:16] = draw.integers(0, 256, 3)
            data = encode_jpeg(image)
            (tmp_path / f"{name}.jpg").write_bytes(data)
            rows.append(
                {
                    "image_id": name,
                    "person_id": person,
                    "camera_id": 1,
                    "split": "train",
                    "origin": "real",
                    "member": f"{name}.jpg",
                    "width": 24,
                    "height": 48,
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            )
    return new_manifest(rows)
