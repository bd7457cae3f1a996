"""The model card: what a registered model is, on what it was trained, how good it is."""

from __future__ import annotations

from lookalike.config import RESNET50, ArmConfig, Config, DataConfig
from lookalike.registry.evidence import Evidence
from lookalike.reid.label_policies import LABELS
from lookalike.synthesis.kind import image_kind

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
    backbone, own = (
        ("ResNet50", "2048") if reid.backbone == RESNET50 else (reid.backbone, "the backbone's")
    )
    state = "with uncommitted changes" if evidence.uncommitted else "clean"
    lines = [
        f"# {name}, arm {arm}",
        "",
        "Embeds the picture of a pedestrian as a vector of unit length; pictures of one person "
        "seen by different cameras have a high cosine similarity.",
        "",
        "## Model",
        f"{backbone}, {reid.height}x{reid.width} pixels, {reid.embedding_dim or own} numbers per "
        f"picture; starting weights: {reid.weights}; {reid.epochs} epochs.",
        "",
        "## Data",
        *_training_data(config.arms[arm], evidence, config),
        f"Profile `{config.profile}`; tested on the test persons of "
        f"{_data_set('own', config.data)}.",
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
        f"Measured on {_data_set('own', config.data)} only; other cameras, places and clothes "
        "will score lower. "
        "Finding persons again across cameras is surveillance: its use needs a legal basis and the "
        "consent or protection of those who are seen.",
        "",
    ]
    return "\n".join(lines)


def _training_data(arm: ArmConfig, evidence: Evidence, config: Config) -> list[str]:
    """What the arm was trained on, and how good its generated images were."""
    real = " and ".join(_data_set(name, config.data) for name in arm.real)
    if arm.images == ("none",):
        return [f"Trained on the real train images of {real}; no generated ones."]
    own = _data_set("own", config.data)
    generated = ", and ".join(
        image_kind(kind).card.format(data=own, taught=_taught_as(kind, arm))
        for kind in arm.images
        if kind != "none"
    )
    rates = {kind: evidence.pass_rates.get(kind) for kind in arm.images}
    kept = ", ".join(
        f"{'not measured' if r is None else f'{r:.1%}'} of {k}" for k, r in rates.items()
    )
    frechet = "not measured" if evidence.frechet is None else f"{evidence.frechet:.4g}"
    changed = arm.policy.model_dump(exclude_defaults=True, exclude={"label"}, mode="json")
    settings = ", ".join(f"{name} {value}" for name, value in changed.items())
    policy = f" How these took part in the training: {settings}." if settings else ""
    return [
        f"Trained on the real train images of {real}, and on {generated}.{policy}",
        f"Share of the generated images that the filter kept: {kept}. "
        f"The generator's Frechet distance in the features of `{config.gan.distance_features}`: "
        f"{frechet}.",
    ]


def _taught_as(kind: str, arm: ArmConfig) -> str:
    """What the generated images of a kind were labelled as."""
    if image_kind(kind).new_classes and arm.labelled:
        return ", each a class of its own"
    return f", {LABELS[arm.label].card}"


def _data_set(name: str, data: DataConfig) -> str:
    """A data set as cards call it: the main one by its layout, others by name and layout."""
    return f"`{data.source}`" if name == "own" else f"`{name}` (`{data.others[name]}`)"
