"""Rendered stand-ins: nobody from the data but who is meant to be, and the same bytes always."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lookalike.config import RenderedConfig
from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest
from lookalike.data.prepare import matches
from lookalike.study.oracle import further_images, more_test_persons, new_persons
from lookalike.study.trainings import MANIFEST

FOLDER = Path("scratch")


def test_new_persons_are_nobody_in_the_data(repository: Path) -> None:
    data = read_manifest(repository / MANIFEST)
    rows = new_persons(2, 7, repository, FOLDER)
    assert rows["person_id"].value_counts().to_dict() == {"oracle-000001": 7, "oracle-000002": 7}
    assert set(rows["origin"]) == {"person"} and set(rows["split"]) == {"train"}
    assert not set(rows["sha256"]) & set(data["sha256"])
    assert rows["sha256"].is_unique and rows["image_id"].is_unique
    # The first six images are of six cameras, so few images are not of one.
    assert set(rows["camera_id"][:6]) == {1, 2, 3, 4, 5, 6}
    assert load_images(rows, repository, 16, 8).shape == (14, 16, 8, 3)


def test_further_images_show_the_training_persons(repository: Path) -> None:
    train = read_manifest(repository / MANIFEST).query("split == 'train'")
    rows = further_images(train, 1, 6, repository, FOLDER)
    assert set(rows["origin"]) == {"variation"}
    assert rows["person_id"].value_counts().eq(6).all()
    assert set(rows["person_id"]) == set(train["person_id"])
    assert not set(rows["sha256"]) & set(train["sha256"])
    # Where one camera saw both, they look like themselves more than like others.
    crops = [load_images(frame, repository, 32, 16) / 255.0 for frame in (rows, train)]
    clothes = [np.median(x[:, 8:28, 6:10], axis=2).reshape(len(x), -1) for x in crops]
    far = np.linalg.norm(clothes[0][:, None] - clothes[1][None], axis=-1)
    pairs = [
        (rows[key].to_numpy()[:, None], train[key].to_numpy()) for key in ("camera_id", "person_id")
    ]
    camera, person = (left == right for left, right in pairs)
    assert far[camera & person].mean() < 0.7 * far[camera & ~person].mean()


def test_what_was_rendered_is_read_again(repository: Path) -> None:
    first = new_persons(1, 2, repository, FOLDER)
    (place,) = (repository / FOLDER).iterdir()
    before = (place / "images.zip").stat().st_mtime_ns
    pd.testing.assert_frame_equal(new_persons(1, 2, repository, FOLDER), first)
    assert (place / "images.zip").stat().st_mtime_ns == before
    # A larger number only adds.
    more = new_persons(2, 3, repository, FOLDER)
    assert set(first["sha256"]) < set(more["sha256"])


def test_more_test_persons_can_be_looked_for(repository: Path) -> None:
    query, gallery = more_test_persons(2, RenderedConfig(), repository, FOLDER)
    assert set(query["split"]) == {"query"} and set(gallery["split"]) == {"gallery"}
    assert set(query["person_id"]) == set(gallery["person_id"]) == {"test-000001", "test-000002"}
    assert (matches(query, gallery) > 0).all()
