"""From a few steps to the whole run: how much of everything the profile's own amounts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lookalike.config import KINDS, Config
from lookalike.data.layouts.layout import SPLITS, Count, Found, count
from lookalike.data.layouts.sources import SOURCES
from lookalike.rehearsal.shortened import FIT_STEPS
from lookalike.rehearsal.watch import Work
from lookalike.reid.trainer import validations

Amounts = dict[str, int]  # of what each bar counts, by its name
ALMOST_ALL = 0.85  # of generated images that the filters leave (the study: 0.82)


def data_counts(config: Config, found: Sequence[Found]) -> Mapping[str, Count]:
    """Images and persons of each split: as published, or those found, or to be rendered."""
    layout = SOURCES[config.data.source]
    if layout.counts is not None and config.data.as_published:
        return layout.counts
    if found:
        return count((image.split, image.person) for image in found)
    size = config.data.rendered
    if size is None:
        return {split: Count(0, 0) for split in SPLITS}
    test = size.test_persons * size.images_per_person
    return {
        "train": Count(size.train_persons * size.images_per_person, size.train_persons),
        "query": Count(test // 3, size.test_persons),
        "gallery": Count(test - test // 3, size.test_persons),
        "distractor": Count(size.distractors, 1),
        "junk": Count(size.junk, 1),
    }


def amounts(config: Config, counts: Mapping[str, Count]) -> dict[str, Amounts]:
    """What each stage's bars will count in the real run, by stage.

    Images of validation persons are as many as of other persons. What generated images an arm
    takes is reckoned with the study's pass rate.
    """
    images, persons = counts["train"]
    val = images * config.data.validation_persons // max(1, persons)
    train, train_persons = images - val, persons - config.data.validation_persons
    test = sum(counts[split].images for split in ("query", "gallery", "distractor"))
    shown = {kind: config.generate.of(kind).persons(train_persons) for kind in KINDS}
    made = {kind: shown[kind] * config.generate.of(kind).images_per_person for kind in KINDS}
    gan = config.gan
    measured = 1 + -(-gan.total_images // gan.snapshot_images)
    samples = measured * (train if gan.distance_samples == "full" else gan.distance_samples)
    longer = config.encoder.latent_steps / FIT_STEPS  # than in the rehearsal
    looks = 2 if longer else 1  # at the encoder's latents and at optimised ones
    found: dict[str, Amounts] = {
        "prepare": {"read images": sum(c.images for c in counts.values())},
        "validate": {},
        "train_gan": {
            "decode": 2 * train,
            "train_gan": gan.total_images,
            "samples": samples,
            "inception": train + samples,
            "embed": train + samples,
        },
        "train_encoder": {
            "decode": train + val,
            "train encoder": config.encoder.total_images,
            "fit latents": round((train + val) * longer),
            "reconstruct": val * looks,
            "cross": val * looks,
            "embed": 3 * val * looks,
        },
    }
    for kind, number in made.items():
        found[f"generate@{kind}"] = {f"generate {kind}": number}
        found[f"filter@{kind}"] = {
            "decode": number + images,
            "embed": number + images,
            "features": number + images,
            f"detector: {config.filter.detector}": number + train,
            "ssim": number + train,
            "near-copies": shown[kind],
        }
    for name, arm in config.arms.items():
        added = 0
        for kind in KINDS:
            if kind in arm.images:
                of, each = shown[kind], config.generate.of(kind).images_per_person * ALMOST_ALL
                taken = min(each, arm.max_images_per_person or each)
                added += round(min(of, arm.max_persons or of) * taken)
        counted = float(train + added)
        if arm.batch_share is not None:
            # Rehearsed with generated images in every step; without them a step is shorter.
            first, last = arm.epochs or (0, config.reid.epochs)
            counted = train * (1 - arm.batch_share * (1 - (last - first) / config.reid.epochs))
        validated = validations(config.reid.epochs) * val
        found[f"train_reid@{name}"] = {
            "decode train": train + added,
            "decode val": val,
            "train re-ID": round(config.reid.epochs * counted),
            "embed": validated,
        }
        found[f"evaluate@{name}"] = {"decode": val + test, "embed": val + test}
    return found


def seconds(work: Mapping[str, Work], outside: float, amount: Amounts) -> float:
    """Of the whole stage: its bars at their pace, and the rest as long as it took."""
    return outside + sum(
        done.each * amount[name] if name in amount else done.seconds for name, done in work.items()
    )


def crop_cache_bytes(config: Config, counts: Mapping[str, Count]) -> int:
    """Of all decoded crops that lie in the cache at once, three bytes a pixel."""
    of = amounts(config, counts)
    stored = config.generate.height * config.generate.width
    canvas, reid = config.gan.height * config.gan.width, config.reid.height * config.reid.width
    total = of["train_encoder"]["decode"] * (canvas + stored)
    for stage, bars in of.items():
        if stage.startswith("filter"):
            total += bars["decode"] * stored
        if stage.startswith("train_reid"):
            total += (bars["decode train"] + bars["decode val"]) * reid
    return 3 * (total + of["evaluate@baseline"]["decode"] * reid)
