"""Stage train_encoder: inversion of the frozen generator."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor

from lookalike.artifacts import ARTIFACTS
from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.files import sha256_file
from lookalike.inversion.checkpoint import save_encoder
from lookalike.inversion.encoder import draw_all, invert_all
from lookalike.inversion.fitting import fit_all, save_latents
from lookalike.inversion.losses import InversionLoss, perceptual_loss
from lookalike.inversion.trainer import train_encoder
from lookalike.progress import say
from lookalike.reid.embedder import Embedder
from lookalike.reid.identity import IdentityFeatures
from lookalike.report.figures import sources_and_variations
from lookalike.spread import spread
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.synthesis.likeness import likeness
from lookalike.training.session import Session
from lookalike.weights import find
from pipelines.content import content
from pipelines.stage import BASELINE_MODEL, GENERATOR, MANIFEST, Stage, run

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

    backbone = encoder_config.perceptual_backbone
    weights = find(backbone, stage.root) if backbone.endswith("-imagenet") else None
    start = None
    if encoder_config.start != "none":
        start = find(encoder_config.start, stage.root)
    embedder = Embedder.load(BASELINE_MODEL, device=session.device)
    stage.tracker.params({"encoder": encoder_config.model_dump(), "seed": config.seed})
    stage.tracker.tags({"lookalike.perceptual_backbone": backbone})
    stage.dataset(rows, "training")
    started = sha256_file(start) if start else ""
    resume = stage.resume(
        encoder_config,
        config.seed,
        content(rows),
        content(GENERATOR),
        content(BASELINE_MODEL),
        started,
    )
    perceptual = perceptual_loss(backbone, weights)
    identity = IdentityFeatures(embedder.model)
    encoder = train_encoder(
        encoder_config,
        images,
        rows["person_id"].tolist(),
        generator,
        start=start,
        perceptual=perceptual,
        identity=identity,
        session=session,
        resume=resume,
        tracker=stage.tracker,
    )
    unseen = manifest[manifest["split"] == "val"].reset_index(drop=True)
    everybody, who = load_images(unseen, stage.root, *canvas), unseen["person_id"].tolist()
    of_unseen = {"unseen": invert_all(encoder, everybody)}
    fitted: dict[str, Tensor] = {}
    if steps := encoder_config.latent_steps:
        loss = InversionLoss(encoder_config, encoder.w_avg, perceptual, identity)
        fit = partial(fit_all, generator, loss, steps=steps, session=session)
        of_train = fit(images, invert_all(encoder, images))
        fitted = dict(zip(rows["image_id"], of_train, strict=True))
        of_unseen["unseen_fitted"] = fit(everybody, of_unseen["unseen"]).to(session.device)
    if not session.is_main:
        return
    made = ARTIFACTS.train_encoder
    save_encoder(
        made.encoder,
        encoder,
        {"perceptual_backbone": backbone, "images_seen": encoder_config.total_images},
    )
    save_latents(made.latents, generator, fitted)
    write_manifest(rows, made.trained_on)
    for whose, ws in of_unseen.items():
        found = likeness(generator, ws, embedder.embed, everybody, who)
        stage.tracker.metrics({f"{whose}_{name}": value for name, value in found.items()})
        say(f"{whose}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    shown = spread(len(unseen), SHOWN)
    best = of_unseen.get("unseen_fitted", of_unseen["unseen"])
    reals, drawn = everybody[shown], draw_all(generator, best[shown])
    none = np.empty((len(reals), 0, *reals.shape[1:]), np.uint8)
    sources_and_variations(reals, none, made.reconstructions, reconstructions=drawn, scale=2)
    stage.tracker.artifact(made.reconstructions)
    similarity = (embedder.embed(reals) * embedder.embed(drawn)).sum(1).mean()
    error = np.square((reals.astype(float) - drawn) / 127.5).mean()
    stage.tracker.metrics({"unseen_identity_similarity": float(similarity), "unseen_l2": error})
    resume.discard()


if __name__ == "__main__":
    run("train_encoder", work, [MANIFEST, GENERATOR, BASELINE_MODEL])
