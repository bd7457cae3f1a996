"""Stage train_gan: StyleGAN3 on the train split only, by transfer from a starting checkpoint."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lookalike.artifacts import ARTIFACTS
from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.metrics.comparison import Comparison
from lookalike.metrics.features import FeatureExtractor, InceptionFeatures, ReidFeatures
from lookalike.progress import say
from lookalike.reid.embedder import Embedder
from lookalike.report.headline import generator_headline, write_headline
from lookalike.seeds import derive_seed
from lookalike.stylegan3.checkpoint import DiscriminatorConfig, save_gan
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.gan import build_gan
from lookalike.stylegan3.snapshots import Snapshots
from lookalike.stylegan3.trainer import train_gan
from lookalike.stylegan3.transfer import TransferReport, transfer
from lookalike.training.session import Session
from lookalike.weights import find
from pipelines.content import content
from pipelines.stage import BASELINE_MODEL, MANIFEST, Stage, run


def features(stage: Stage, session: Session) -> FeatureExtractor:
    """The feature space of the distance that the parameters ask for."""
    if stage.config.gan.distance_features == "inception":
        return InceptionFeatures(find("inception-2015", stage.root), device=session.device)
    return ReidFeatures(
        Embedder.load(BASELINE_MODEL, device=session.device),
        content(BASELINE_MODEL),
    )


def work(stage: Stage) -> None:
    """Transfer, train, measure along the way, keep the averaged generator."""
    config, gan_config, made = stage.config, stage.config.gan, ARTIFACTS.train_gan
    manifest = read_manifest(MANIFEST)
    rows = manifest[manifest["split"] == "train"].reset_index(drop=True)
    session = Session(config.seed, gan_config.precision)
    images = load_images(rows, stage.root, gan_config.height, gan_config.width)

    classes = labels = None
    if gan_config.condition != "none":
        classes, labels = Classes.of(gan_config.condition, rows[f"{gan_config.condition}_id"])
    gan = build_gan(gan_config, config.seed, classes)
    start, report = "", TransferReport((), licence="")
    if gan_config.start != "none":
        path = find(gan_config.start, stage.root)
        start = content(path)
        report = transfer(path, gan.generator, gan.discriminator, gan.projected)
        gan.average.load_state_dict(gan.generator.state_dict())
    if session.is_main:
        report.write(made.transfer)
        stage.tracker.artifact(made.transfer)
        say(f"train_gan: start {gan_config.start}: {report}")

    stage.tracker.params({"gan": gan_config.model_dump(), "seed": config.seed})
    stage.dataset(rows, "training")
    size = (config.generate.height, config.generate.width)
    inputs = (
        content(rows),
        start,
        content(BASELINE_MODEL),
        *([] if labels is None else labels),
    )
    resume = stage.resume(gan_config, size, config.seed, *inputs)
    # Decoded at the size that is generated: through the canvas, both sides would lack the same
    # details, and the distance would not see it.
    reals = load_images(rows, stage.root, *size)
    count = gan_config.distance_samples
    snapshot = Snapshots(
        Comparison(reals, features(stage, session), session, Path(".lookalike/cache")),
        len(images) if count == "full" else count,
        size,
        derive_seed(config.seed, "samples"),
        folder=made.samples,
        resume=resume,
        tracker=stage.tracker,
    )
    history = train_gan(
        gan_config,
        gan,
        images,
        labels=labels,
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
        save_gan(
            made.generator,
            gan.average,
            gan.discriminator,
            widths,
            provenance,
            projected=gan.projected,
        )
        table = pd.DataFrame(history)
        table.to_csv(made.history, index=False)
        headline = generator_headline(table)
        write_headline(headline, made.headline)
        stage.tracker.headline(headline)
        write_manifest(rows, made.trained_on)
        resume.discard()


if __name__ == "__main__":
    run("train_gan", work, [MANIFEST, BASELINE_MODEL])
