import json

import numpy as np
import pandas as pd
import pytest

from lookalike.config import FilterConfig
from lookalike.data.manifest import SCHEMA, new_manifest
from lookalike.errors import UserError
from lookalike.filtering.cascade import FILTERS, filter_manifest
from lookalike.filtering.filter import Crops, Filter
from lookalike.filtering.ssim import luma, pairwise_ssim, ssim_to

SHAPE = (32, 16, 3)


class BrightnessDetector:
    """Takes bright crops for people: a detector whose verdicts are known."""

    def score(self, images):
        return images.mean(axis=(1, 2, 3)) / 255


def picture(seed, level=160, wobble=0.0):
    """A texture; `wobble` mixes in another one."""
    rng = np.random.default_rng(seed)
    pattern = rng.normal(0, 25, SHAPE)
    other = np.random.default_rng(seed + 1000).normal(0, 25, SHAPE)
    return (level + (1 - wobble) * pattern + wobble * other).clip(0, 255).astype(np.uint8)


def unit(angle):
    return np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


def crops(*entries, **common):
    """Crops of (image_id, person_id, picture, angle of the embedding in radians)."""
    rows = [
        {
            "image_id": image_id,
            "person_id": person,
            "camera_id": 1,
            "member": f"{image_id}.jpg",
            "width": SHAPE[1],
            "height": SHAPE[0],
            "sha256": "0" * 64,
            **common,
        }
        for image_id, person, _, _ in entries
    ]
    return Crops(
        new_manifest(rows),
        np.stack([entry[2] for entry in entries]),
        np.stack([unit(entry[3]) for entry in entries]),
    )


def join(*parts):
    return Crops(
        pd.concat([part.rows for part in parts], ignore_index=True),
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.embeddings for part in parts]),
    )


@pytest.fixture
def real():
    train = crops(
        *(
            (f"t{person}{i}", f"000{person}", picture(person, wobble=0.2 * i), person + 0.02 * i)
            for person in (1, 2)
            for i in range(4)
        ),
        split="train",
        origin="real",
    )
    val = crops(
        *((f"v{i}", "0009", picture(9, wobble=0.1 * i), 0.1 * i) for i in range(4)),
        split="val",
        origin="real",
    )
    return join(train, val)


@pytest.fixture
def config():
    return FilterConfig.model_validate(
        {
            "detector": "hog",
            "detector_threshold": {"value": 0.4},
            "ssim_threshold": {"value": 0.2},
            "identity_threshold": {"value": 0.9},
            "novelty_threshold": None,
            "realism_threshold": None,
            "duplicate_similarity": 0.98,
        }
    )


PERSONS = (  # image_id, person_id, picture, angle, expected reason
    ("a0", "syn-1", picture(50, level=20), 0.0, "detector"),
    ("a1", "syn-1", picture(51), 0.0, ""),
    ("a2", "syn-1", picture(51, wobble=0.3), 0.1, ""),
    ("a3", "syn-1", picture(99), 0.0, "ssim"),
    ("a4", "syn-1", picture(51, wobble=0.25), 1.5, "identity"),
    ("a5", "syn-1", picture(51), 0.0, "duplicate"),  # of a1
    ("b0", "syn-2", picture(61), 0.0, ""),  # alone: nobody to be compared with
)


def generated_persons():
    return crops(*(entry[:4] for entry in PERSONS), split="train", origin="person")


def test_each_image_gets_the_verdict_it_was_made_for(real, config):
    found = filter_manifest(generated_persons(), real, BrightnessDetector(), config)
    scores = found.scores
    assert scores["image_id"].tolist() == [entry[0] for entry in PERSONS]
    assert scores["reason"].tolist() == [entry[4] for entry in PERSONS]
    assert found.kept["image_id"].tolist() == [entry[0] for entry in PERSONS if not entry[4]]
    assert list(found.kept.columns) == SCHEMA.names
    assert scores[["detector", "ssim"]].notna().all(axis=None)
    # a1 is the first that is kept, so the others are measured against it.
    assert scores["ssim"].tolist()[1] == 1
    assert scores["ssim"].tolist()[5] == pytest.approx(1)
    assert scores["identity"].isna().tolist() == [False] * 6 + [True]


def test_an_image_that_is_not_kept_is_no_measure_of_the_others(real, config):
    made = crops(
        ("c0", "syn-3", picture(80), 1.5),  # another person than the rest
        *((f"c{i}", "syn-3", picture(81, wobble=0.15 * i), 0.02 * i) for i in range(1, 6)),
        split="train",
        origin="person",
    )
    scores = filter_manifest(made, real, BrightnessDetector(), config).scores
    assert scores["ssim"].tolist()[1] == 1
    assert scores["reason"].tolist() == ["identity"] + [""] * 5


def test_summary_adds_up(real, config):
    summary = filter_manifest(generated_persons(), real, BrightnessDetector(), config).summary
    json.dumps(summary, allow_nan=False)
    assert (summary["images"], summary["kept"], summary["pass_rate"]) == (7, 3, 3 / 7)
    assert (summary["persons"], summary["persons_kept"]) == (2, 2)
    steps = summary["steps"]
    assert list(steps) == ["detector", "identity", "ssim", "duplicate"]
    assert [step["reached"] for step in steps.values()] == [7, 6, 5, 4]
    assert [step["passed"] for step in steps.values()] == [6, 5, 4, 3]
    assert steps["detector"]["threshold"] == 0.4
    assert steps["detector"]["how"] == "given"
    assert steps["detector"]["real_rejected"] == 0


def test_the_order_of_rows_does_not_matter(real, config):
    ordered = generated_persons()
    order = np.random.default_rng(0).permutation(len(ordered.rows))
    back = np.random.default_rng(1).permutation(len(real.rows))
    shuffled = Crops(
        ordered.rows.iloc[order].reset_index(drop=True),
        ordered.images[order],
        ordered.embeddings[order],
    )
    mixed = Crops(real.rows.iloc[back], real.images[back], real.embeddings[back])
    first = filter_manifest(ordered, real, BrightnessDetector(), config)
    second = filter_manifest(shuffled, mixed, BrightnessDetector(), config)
    pd.testing.assert_frame_equal(
        first.scores, second.scores.sort_values("image_id", ignore_index=True)
    )
    assert sorted(first.kept["image_id"]) == sorted(second.kept["image_id"])
    assert first.summary == second.summary
    pd.testing.assert_frame_equal(first.curves, second.curves)


def test_variations_are_compared_with_their_real_person(real, config):
    made = crops(
        ("x0", "0001", picture(70), 1.03),
        ("x1", "0001", picture(70, wobble=0.3), 2.0),  # has become person 0002
        ("x2", "0002", picture(71), 2.03),
        split="train",
        origin="variation",
    )
    scores = filter_manifest(made, real, BrightnessDetector(), config).scores
    assert scores["reason"].tolist() == ["", "identity", ""]
    assert scores["identity"].iloc[0] == pytest.approx(1, abs=1e-3)
    stranger = crops(("x3", "0042", picture(70), 0.0), split="train", origin="variation")
    with pytest.raises(UserError, match="0042"):
        filter_manifest(stranger, real, BrightnessDetector(), config)


def test_bounds_are_calibrated_on_real_images(real, config):
    calibrated = config.model_copy(
        update={
            "detector_threshold": config.detector_threshold.model_validate({"rejection_rate": 0.25})
        }
    )
    found = filter_manifest(generated_persons(), real, BrightnessDetector(), calibrated)
    train = real.images[(real.rows["split"] == "train").to_numpy()]
    bound = found.summary["steps"]["detector"]["threshold"]
    assert (BrightnessDetector().score(train) < bound).sum() == 2  # a quarter of eight
    assert found.summary["steps"]["detector"]["real_rejected"] == 0.25
    assert set(found.curves["step"]) == {"detector", "ssim", "identity"}
    assert found.curves["rejected"].between(0, 1).all()


def test_real_images_must_be_there(real, config):
    val_only = real.where((real.rows["split"] == "val").to_numpy())
    with pytest.raises(UserError, match="train and val"):
        filter_manifest(generated_persons(), val_only, BrightnessDetector(), config)


def test_a_new_filter_is_one_object(real, config):
    """Score, bound, calibration, reason and table follow from it."""
    redness = Filter(
        "redness",
        lambda config: config.ssim_threshold.model_validate({"rejection_rate": 0.25}),
        lambda material: material.generated.images[..., 0].mean(axis=(1, 2)),
        lambda material: material.train.images[..., 0].mean(axis=(1, 2)),
        "real train images",
    )
    unused = Filter("unused", lambda config: None, redness.score, redness.score_real, "nothing")
    filters = (*FILTERS, redness, unused)
    found = filter_manifest(generated_persons(), real, BrightnessDetector(), config, filters)
    assert list(found.scores)[2:] == ["detector", "identity", "ssim", "redness"]
    steps = found.summary["steps"]
    assert list(steps) == ["detector", "identity", "ssim", "redness", "duplicate"]
    assert steps["redness"]["how"] == "rejects at most 25.00% of 8 real train images"
    assert set(found.curves["step"]) == {"detector", "identity", "ssim", "redness"}
    rejected = (found.scores["reason"] == "redness").sum()
    assert rejected == steps["redness"]["reached"] - steps["redness"]["passed"]


def test_a_threshold_that_is_no_parameter_is_found_at_once():
    """By whatever imports the filter, long before the stage has generated anything."""
    with pytest.raises(TypeError) as caught:
        Filter("redness", lambda config: config.redness_threshold, len, len, "nothing")
    assert str(caught.value) == (
        "filter redness: 'FilterConfig' object has no attribute 'redness_threshold'; "
        "give it the field in config/filtering.py"
    )


def test_every_threshold_of_the_parameters_has_a_filter():
    names = {f"{step.name}_threshold" for step in FILTERS} | {"diversity_threshold"}
    fields = {name for name in FilterConfig.model_fields if name.endswith("_threshold")}
    missing = ", ".join(sorted(fields - names))
    assert not missing, f"{missing}: add the filter to FILTERS in filtering/cascade.py"


def many(seed):
    """New persons of random likeness: each filter that compares images finds some to reject."""
    rng = np.random.default_rng(seed)
    return crops(
        *(
            (
                f"m{person}{i}",
                f"syn-{person}",
                picture(100 + person, level=rng.choice([20, 160]), wobble=rng.uniform(0, 0.8)),
                rng.uniform(0, 0.6),
            )
            for person in range(4)
            for i in range(10)
        ),
        split="train",
        origin="person",
    )


def test_what_an_image_is_compared_with_is_kept(real, config):
    limits = {"ssim_threshold": {"value": 0.75}, "diversity_threshold": {"value": 0.01}}
    config = FilterConfig.model_validate(
        {**config.model_dump(), **limits, "duplicate_similarity": 0.9}
    )
    found = set()
    for seed in range(5):
        made = many(seed)
        scores = filter_manifest(made, real, BrightnessDetector(), config).scores
        reason = scores["reason"].to_numpy()
        found |= set(reason)
        for rows in made.by_person():
            kept = rows[reason[rows] == ""]
            if not len(kept):
                assert set(reason[rows]) <= {"detector"}
                continue
            first = [int(np.flatnonzero(rows == kept[0])[0])] * len(rows)
            assert scores["ssim"][rows].to_numpy() == pytest.approx(
                ssim_to(made.images[rows], first)
            )
            for row in rows[reason[rows] == "diversity"]:
                before = made.embeddings[kept[kept < row]]
                assert 1 - (before @ made.embeddings[row]).max() < 0.01
            for row in rows[reason[rows] == "duplicate"]:
                likeness = pairwise_ssim(luma(made.images[[row, *kept[kept < row]]]))
                assert likeness[0, 1:].max() > 0.9
    assert found == {"", "detector", "ssim", "diversity", "duplicate"}


def test_a_new_person_is_nobody_among_the_real_ones(real, config):
    """Persons 0001 and 0002 lie at about 1 and 2 radians."""
    novel = config.model_copy(
        update={"novelty_threshold": config.ssim_threshold.model_validate({"value": 0.1})}
    )
    entries = [("n0", "syn-1", picture(51), 1.0), ("n1", "syn-1", picture(51, wobble=0.3), 0.0)]
    made = crops(*entries, split="train", origin="person")
    found = filter_manifest(made, real, BrightnessDetector(), novel)
    assert found.scores["reason"].tolist() == ["novelty", ""]
    varied = crops(("x0", "0001", picture(70), 1.03), split="train", origin="variation")
    found = filter_manifest(varied, real, BrightnessDetector(), novel)
    assert found.scores["reason"].tolist() == [""]
    assert "novelty" not in found.summary["steps"]  # of which no image was judged
    both = filter_manifest(join(made, varied), real, BrightnessDetector(), novel).scores
    assert both["novelty"].isna().tolist() == [False, False, True]


def test_every_filter_can_be_left_out(real, config):
    names = [f"{step.name}_threshold" for step in FILTERS] + ["diversity_threshold"]
    nothing = config.model_copy(update=dict.fromkeys(names))
    found = filter_manifest(generated_persons(), real, BrightnessDetector(), nothing)
    assert set(found.scores["reason"]) == {"", "duplicate"}
    assert list(found.summary["steps"]) == ["duplicate"]
    assert found.curves.empty


def test_realism_needs_enough_real_images(real, config):
    few = real.rows["image_id"].isin(["t10", "t11", "v0"]).to_numpy()
    neutral = np.zeros((len(real.rows), 1), np.float32)
    scarce = Crops(real.rows, real.images, real.embeddings, neutral).where(few)
    made = generated_persons()
    made = Crops(made.rows, made.images, made.embeddings, np.zeros((len(made.rows), 1), np.float32))
    real_ones = config.ssim_threshold.model_validate({"rejection_rate": 0.02})
    config = config.model_copy(update={"realism_threshold": real_ones})
    with pytest.raises(UserError, match="realism: 2 samples have no 3 nearest"):
        filter_manifest(made, scarce, BrightnessDetector(), config)
