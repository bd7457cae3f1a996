"""Stage train_encoder: ReStyle-pSp inversion of the frozen generator."""

from __future__ import annotations

import numpy as np

from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.inversion.encoder import reconstruct, save_encoder
from lookalike.inversion.losses import lpips_loss
from lookalike.inversion.trainer import train_encoder
from lookalike.reid.embedder import Embedder
from lookalike.reid.identity import IdentityFeatures
from lookalike.report.figures import sources_and_variations
from lookalike.spread import spread
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.training.session import Session
from lookalike.weights import find
from pipelines.content import content
from pipelines.stage import BASELINE, ENCODER, GENERATOR, MANIFEST, Stage, run

SHOWN = 16  # validation crops in the figure


def work(stage: Stage) -> None:
    """Train on the train split; show reconstructions of persons that it has not seen."""
    config, encoder_config = stage.config, stage.config.encoder
    manifest = read_manifest(MANIFEST)
    rows = manifest[manifest["split"] == "train"].reset_index(drop=True)
    session = Session(config.seed, encoder_config.precision)
    generator = load_generator(GENERATOR, session.device)
    canvas = (generator.config.height, generator.config.width)
    images = load_images(rows, stage.root, *canvas)

    backbone = encoder_config.lpips_backbone
    weights = None if backbone == "random" else find(backbone, stage.root)
    embedder = Embedder.load(BASELINE, device=session.device)
    stage.tracker.params({"encoder": encoder_config.model_dump(), "seed": config.seed})
    stage.tracker.tags({"lookalike.lpips_backbone": backbone})
    stage.dataset(rows, "training")
    resume = stage.resume(
        encoder_config, config.seed, content(rows), content(GENERATOR), content(BASELINE)
    )
    encoder = train_encoder(
        encoder_config,
        images,
        generator,
        perceptual=lpips_loss(backbone, weights),
        identity=IdentityFeatures(embedder.model),
        session=session,
        resume=resume,
        tracker=stage.tracker,
    )
    if not session.is_main:
        return
    save_encoder(
        ENCODER,
        encoder,
        {"lpips_backbone": backbone, "images_seen": encoder_config.total_images},
    )
    write_manifest(rows, stage.folder / "trained_on.parquet")
    unseen = manifest[manifest["split"] == "val"].reset_index(drop=True)
    shown = unseen.iloc[spread(len(unseen), SHOWN)]
    reals = load_images(shown, stage.root, *canvas)
    drawn = reconstruct(encoder, reals)
    figure = stage.folder / "reconstructions.png"
    none = np.empty((len(reals), 0, *reals.shape[1:]), np.uint8)
    sources_and_variations(reals, none, figure, reconstructions=drawn, scale=2)
    stage.tracker.artifact(figure)
    likeness = (embedder.embed(reals) * embedder.embed(drawn)).sum(1).mean()
    error = np.square((reals.astype(float) - drawn) / 127.5).mean()
    stage.tracker.metrics({"unseen_identity_similarity": float(likeness), "unseen_l2": error})
    resume.discard()


if __name__ == "__main__":
    run("train_encoder", work, [MANIFEST, GENERATOR, BASELINE])
