"""Stage train_gan: StyleGAN3 on the train split only, by transfer from a starting checkpoint."""

from __future__ import annotations

import pandas as pd

from lookalike.data.loading import load_images, resize_batch
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.metrics.distances import FrechetReference
from lookalike.metrics.features import FeatureExtractor, InceptionFeatures, ReidFeatures
from lookalike.progress import say
from lookalike.reid.embedder import Embedder
from lookalike.report.figures import contact_sheet
from lookalike.stylegan3.checkpoint import DiscriminatorConfig, save_gan, transfer
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.trainer import build_gan, sample_images, train_gan
from lookalike.training.session import Session, derive_seed
from lookalike.weights import find
from pipelines.stage import BASELINE, GENERATOR, MANIFEST, Stage, content, run

SHEET = 64  # samples on the grid, always of the same latents


def features(stage: Stage, session: Session) -> FeatureExtractor:
    """The feature space of the distance that the parameters ask for."""
    if stage.config.gan.distance_features == "inception":
        return InceptionFeatures(find("inception-2015", stage.root), device=session.device)
    return ReidFeatures(Embedder.load(BASELINE, device=session.device))


def work(stage: Stage) -> None:
    """Transfer, train, measure along the way, keep the averaged generator."""
    config, gan_config = stage.config, stage.config.gan
    manifest = read_manifest(MANIFEST)
    rows = manifest[manifest["split"] == "train"].reset_index(drop=True)
    session = Session(config.seed, gan_config.precision)
    images = load_images(rows, stage.root, gan_config.height, gan_config.width)

    gan = build_gan(gan_config, config.seed)
    start = ""
    if gan_config.start != "none":
        path = find(gan_config.start, stage.root)
        report = transfer(path, gan.generator, gan.discriminator)
        gan.average.load_state_dict(gan.generator.state_dict())
        start = content(path)
        say(f"train_gan: from {gan_config.start}: {report}")

    extract = features(stage, session)
    size = (config.generate.height, config.generate.width)
    reference = FrechetReference(extract(resize_batch(images, *size)))
    seed = derive_seed(config.seed, "samples")

    def snapshot(generator: Generator, images_seen: int) -> dict[str, float]:
        fakes = sample_images(generator, gan_config.distance_samples, seed)
        grid = stage.folder / "samples" / f"{images_seen:08d}.png"
        contact_sheet(fakes[:SHEET], grid, columns=16)
        stage.tracker.artifact(grid, "samples")
        distance = reference.distance(extract(resize_batch(fakes, *size)))
        say(f"train_gan: {extract.name} {distance:.4f} at {images_seen} images")
        return {extract.name: distance}

    stage.tracker.params({"gan": gan_config.model_dump(), "seed": config.seed})
    stage.dataset(rows, "training")
    resume = stage.resume(gan_config, size, config.seed, content(rows), start, content(BASELINE))
    history = train_gan(
        gan_config,
        gan,
        images,
        session=session,
        resume=resume,
        tracker=stage.tracker,
        snapshot=snapshot,
        transferred=bool(start),
    )
    if session.is_main:
        provenance = {"profile": config.profile, "seed": config.seed, "start": start}
        widths = DiscriminatorConfig(
            gan_config.discriminator_channel_base, gan_config.discriminator_channel_max
        )
        save_gan(GENERATOR, gan.average, gan.discriminator, widths, provenance)
        pd.DataFrame(history).to_csv(stage.folder / "history.csv", index=False)
        write_manifest(rows, stage.folder / "trained_on.parquet")
        resume.discard()


if __name__ == "__main__":
    run("train_gan", work, [MANIFEST, BASELINE])
