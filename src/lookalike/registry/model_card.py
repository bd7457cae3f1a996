"""The model card: what a registered model is, on what it was trained, how good it is."""

from __future__ import annotations

from lookalike.config import Config
from lookalike.registry.evidence import Evidence

METRICS = ("rank_1", "rank_5", "rank_10", "mAP", "mAP_trapezoidal", "mINP")


def model_card(name: str, arm: str, evidence: Evidence, config: Config) -> str:
    """Markdown (after Mitchell et al. 2019: intended use, data, metrics, limits).

    The gates' verdicts are not in it: they are about a moment, and are kept with each decision.
    """
    evaluation, reid = evidence.evaluation, config.reid
    metrics = [
        f"| {metric} | {evaluation.metrics[metric]:.4f} |"
        for metric in METRICS
        if metric in evaluation.metrics
    ]
    cameras = [
        f"| {camera} | {value:.4f} |"
        for camera, value in sorted(evaluation.rank_1_by_camera.items())
    ]
    images = config.arms[arm].images
    generated = {
        "none": "real images only",
        "persons": "real images and new persons from the generator, each a class of its own",
        "variations": "real images and generated variations of them, labelled as their source",
    }[images]
    kept = ", ".join(f"{kind} {rate:.1%}" for kind, rate in sorted(evidence.pass_rates.items()))
    frechet = "not measured" if evidence.frechet is None else f"{evidence.frechet:.4g}"
    state = "with uncommitted changes" if evidence.uncommitted else "clean"
    lines = [
        f"# {name}, arm {arm}",
        "",
        "Embeds the picture of a pedestrian as a vector of unit length; pictures of one person "
        "seen by different cameras have a high cosine similarity.",
        "",
        "## Model",
        f"ResNet50, {reid.height}x{reid.width} pixels, {reid.embedding_dim or 2048} numbers per "
        f"picture; starting weights: {reid.weights}; {reid.epochs} epochs.",
        f"Trained on {generated}.",
        "",
        "## Data",
        f"Profile `{config.profile}`, source `{config.data.source}`. "
        f"Share of generated images that the filter kept: {kept or 'not measured'}. "
        f"The generator's Frechet distance in the features of `{config.gan.distance_features}`: "
        f"{frechet}.",
        "",
        f"## Results on the test persons (evaluation {evaluation.fingerprint})",
        "| metric | value |",
        "|---|---|",
        *metrics,
        "",
        "| camera of the query | rank-1 |",
        "|---|---|",
        *cameras,
        "",
        "## Origin",
        f"Commit `{evidence.git_sha}` ({state}); weights' MD5 `{evidence.weights_md5}`.",
        "",
        "## Limits",
        "Measured on one data set only; other cameras, places and clothes will score lower. "
        "Finding persons again across cameras is surveillance: its use needs a legal basis and the "
        "consent or protection of those who are seen.",
        "",
    ]
    return "\n".join(lines)
