"""Stage train_gan: StyleGAN3 on the train split only, by transfer from a starting checkpoint."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lookalike.data.loading import load_images, resize_batch
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.metrics.comparison import Comparison, share
from lookalike.metrics.features import FeatureExtractor, InceptionFeatures, ReidFeatures
from lookalike.progress import say
from lookalike.reid.embedder import Embedder
from lookalike.report.figures import contact_sheet
from lookalike.stylegan3.checkpoint import DiscriminatorConfig, TransferReport, save_gan, transfer
from lookalike.stylegan3.gan import build_gan, sample_images
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.trainer import train_gan
from lookalike.training.session import Session, derive_seed
from lookalike.weights import find
from pipelines.stage import BASELINE, GENERATOR, MANIFEST, Stage, content, run

SHEET = 64  # samples on the grid, always of the same latents


def features(stage: Stage, session: Session) -> FeatureExtractor:
    """The feature space of the distance that the parameters ask for."""
    if stage.config.gan.distance_features == "inception":
        return InceptionFeatures(find("inception-2015", stage.root), device=session.device)
    return ReidFeatures(Embedder.load(BASELINE, device=session.device), content(BASELINE))


def work(stage: Stage) -> None:
    """Transfer, train, measure along the way, keep the averaged generator."""
    config, gan_config = stage.config, stage.config.gan
    manifest = read_manifest(MANIFEST)
    rows = manifest[manifest["split"] == "train"].reset_index(drop=True)
    session = Session(config.seed, gan_config.precision)
    images = load_images(rows, stage.root, gan_config.height, gan_config.width)

    gan = build_gan(gan_config, config.seed)
    start, report = "", TransferReport((), licence="")
    if gan_config.start != "none":
        path = find(gan_config.start, stage.root)
        start, report = content(path), transfer(path, gan.generator, gan.discriminator)
        gan.average.load_state_dict(gan.generator.state_dict())
    if session.is_main:
        table = stage.folder / "transfer.json"
        report.write(table)
        stage.tracker.artifact(table)
        say(f"train_gan: start {gan_config.start}: {report}")

    size = (config.generate.height, config.generate.width)
    compare = Comparison(
        resize_batch(images, *size), features(stage, session), session, Path(".lookalike/cache")
    )
    count = gan_config.distance_samples
    count = len(images) if count == "full" else count
    seed, samples = derive_seed(config.seed, "samples"), stage.folder / "samples"

    def snapshot(generator: Generator, images_seen: int) -> dict[str, float]:
        fakes = sample_images(generator, count, seed, rows=share(count, session))
        distances = compare(resize_batch(fakes, *size), count)
        if session.is_main:
            grid = samples / f"{images_seen:08d}.png"
            shown = min(SHEET, count)
            if len(fakes) < shown:  # this process' share is small
                fakes = sample_images(generator, count, seed, rows=slice(shown))
            contact_sheet(fakes[:shown], grid, columns=16)
            resume.keep(grid)
            stage.tracker.artifact(grid, "samples")
            values = ", ".join(f"{name} {value:.4f}" for name, value in distances.items())
            say(f"train_gan: {values} at {images_seen} images")
        return distances

    stage.tracker.params({"gan": gan_config.model_dump(), "seed": config.seed})
    stage.dataset(rows, "training")
    resume = stage.resume(gan_config, size, config.seed, content(rows), start, content(BASELINE))
    if session.is_main:
        resume.restore(samples)
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
        if report.licence:  # of the starting checkpoint: it binds what is trained from it
            provenance["licence"] = report.licence
        widths = DiscriminatorConfig(
            gan_config.discriminator_channel_base, gan_config.discriminator_channel_max
        )
        save_gan(GENERATOR, gan.average, gan.discriminator, widths, provenance)
        pd.DataFrame(history).to_csv(stage.folder / "history.csv", index=False)
        write_manifest(rows, stage.folder / "trained_on.parquet")
        resume.discard()


if __name__ == "__main__":
    run("train_gan", work, [MANIFEST, BASELINE])
