"""A profile made short: the networks and images as they are, the amounts a few steps."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lookalike.config import KINDS, Config, Source
from lookalike.data.layouts.layout import Found
from lookalike.data.layouts.sources import SOURCES
from lookalike.data.population import render_population
from lookalike.errors import UserError
from lookalike.progress import say

TRAIN_PERSONS, TEST_PERSONS, VAL_PERSONS, IMAGES_PER_PERSON, OTHERS = 12, 4, 2, 4, 4
SAMPLED: tuple[Source, ...] = ("rendered", "market1501", "dukemtmc")  # no lists beside the images
STEPS = {"cpu": 2, "cuda": 8}  # of the generator's and the encoder's training
REID_STEPS = 3
FEW = {"gan": 4, "encoder": 2, "generate": 4}  # images at once where there is no GPU
FIT_STEPS = 2  # of latents
SAMPLES = {"cpu": 8, "cuda": 16}  # of each Frechet distance


def shorten(config: Config, device: torch.device) -> Config:
    """The parameters of the rehearsal: every size that a network sees is the profile's.

    On the CPU the generator takes 4 images at once and its encoder 2, otherwise a micro-batch. A
    re-ID model keeps its batches, of which its statistics and losses are made. Every image passes
    the filters, since what random weights find is arbitrary.
    """
    values: dict[str, Any] = config.model_dump()
    cpu = device.type == "cpu"
    kind = "cpu" if cpu else "cuda"
    values["data"] |= {"as_published": False, "others": {}, "validation_persons": VAL_PERSONS}
    images = _learnt(config) * IMAGES_PER_PERSON
    epochs = -(-REID_STEPS * config.reid.batch_size // images)
    values["reid"] |= {"epochs": epochs, "schedule": {"warm_up": 0.5}}
    for name in ("gan", "encoder"):
        batch = min(FEW[name], values[name]["batch_size"]) if cpu else values[name]["micro_batch"]
        values[name] |= {
            "batch_size": batch,
            "micro_batch": batch,
            "total_images": STEPS[kind] * batch,
            "checkpoint_images": 10**9,
        }
    values["encoder"]["latent_steps"] = min(FIT_STEPS, config.encoder.latent_steps)
    values["encoder"]["start"] = "none"  # a start of the same shape changes nothing here
    values["gan"] |= {"snapshot_images": 10**9, "distance_samples": SAMPLES[kind]}
    for name in KINDS:
        values["generate"][name] |= {"images_per_person": 1}
    values["generate"]["persons"] |= {"count": 4, "images_per_person": 4}
    # A second image is inverted for every image of a batch if for any, and so in nearly all; and as
    # for that, detail is kept.
    variations = values["generate"]["variations"]
    way = next((way for way in ("crosses", "interpolation") if variations[way]), None)
    variations |= {"crosses": 0.0, "interpolation": 0.0} | ({way: 1.0} if way else {})
    if cpu:
        values["generate"]["batch_size"] = min(FEW["generate"], values["generate"]["batch_size"])
        for name in ("reid", "gan", "encoder"):
            if values[name]["precision"] == "fp16":  # which CPUs lack
                values[name]["precision"] = "bf16"
    for name, threshold in values["filter"].items():
        if name.endswith("_threshold") and threshold:
            values["filter"][name] = {"value": -1e6}  # measured all the same
    values["filter"]["duplicate_similarity"] = 1.0
    for arm in values["arms"].values():
        arm |= {"real": ("own",), "epochs": None}
    return Config.model_validate(values)


def list_data(config: Config, data: Path) -> list[Found]:
    """The user's images; none, and a word on it, where `data` is not as the profile says."""
    if not data.is_dir():
        return []
    try:
        return SOURCES[config.data.source].scan(data)[0]
    except UserError as error:
        say(str(error))
        return []


def bring_data(config: Config, found: Sequence[Found], data: Path, folder: Path) -> bool:
    """Put a few persons of those `found` in `data` into `folder`, or else rendered ones.

    Returns:
        Whether they are of `data`.
    """
    persons = _learnt(config) + VAL_PERSONS
    chosen = _choose(found, persons) if config.data.source in SAMPLED else []
    for image in chosen:
        target = folder / image.path.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image.path, target)
    if chosen:
        return True
    render_population(
        folder,
        seed=1,
        train_persons=persons,
        test_persons=TEST_PERSONS,
        images_per_person=IMAGES_PER_PERSON,
        distractors=OTHERS,
        junk=OTHERS,
    )
    return False


def _learnt(config: Config) -> int:
    """Persons to train on: as many as a batch of the re-ID model has, if it draws persons."""
    each = config.reid.images_per_person
    return max(TRAIN_PERSONS, config.reid.batch_size // each) if each else TRAIN_PERSONS


def _choose(found: Sequence[Found], persons: int) -> list[Found]:
    """Images of some train and test persons; nothing if there are not so many."""
    of_split: dict[str, list[Found]] = {}
    for image in found:
        of_split.setdefault(image.split, []).append(image)
    train, gallery = of_split.get("train", []), of_split.get("gallery", [])
    queries = of_split.get("query", [])
    known = {image.person for image in queries}
    learnt = _persons(train)[:persons]
    tested = [person for person in _persons(gallery) if person in known][:TEST_PERSONS]
    if len(learnt) < persons or len(tested) < TEST_PERSONS:
        return []
    return [
        *_two_of_two_cameras(train, learnt),
        *_two_of_two_cameras(gallery, tested),
        *(image for image in queries if image.person in tested),
        *of_split.get("distractor", [])[:OTHERS],
        *of_split.get("junk", [])[:OTHERS],
    ]


def _two_of_two_cameras(images: list[Found], persons: list[str]) -> list[Found]:
    """That lets a person be held out for validation; more would only take time."""
    chosen: list[Found] = []
    seen: dict[str, Counter[int]] = {person: Counter() for person in persons}
    for image in images:
        cameras = seen.get(image.person)
        if cameras is None or (image.camera not in cameras and len(cameras) == 2):
            continue
        cameras[image.camera] += 1
        if cameras[image.camera] <= 2:
            chosen.append(image)
    return chosen


def _persons(images: list[Found]) -> list[str]:
    """Those with the most images, which two cameras are most likely to have seen."""
    counts = Counter(image.person for image in images)
    return sorted(counts, key=lambda person: (-counts[person], person))
