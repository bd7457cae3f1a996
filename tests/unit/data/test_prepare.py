import io
import time
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from lookalike.config import DataConfig
from lookalike.data.manifest import SCHEMA, validation_protocol
from lookalike.data.prepare import matches, prepare_manifest
from lookalike.errors import UserError
from lookalike.files import sha256_file


def prepare(repository: Path, config: DataConfig, seed: int = 1) -> tuple[pd.DataFrame, list]:
    manifest, problems = prepare_manifest(repository / "data", repository, config, seed)
    assert list(problems.columns) == ["file", "problem", "detail"]
    return manifest, list(problems.itertuples(index=False, name=None))


def first(repository: Path, folder: str, pattern: str = "*.jpg") -> Path:
    return sorted((repository / "data" / folder).glob(pattern))[0]


def test_the_manifest_of_sound_data(repository: Path, data_config: DataConfig) -> None:
    manifest, problems = prepare(repository, data_config)
    assert problems == []
    assert list(manifest.columns) == SCHEMA.names
    assert manifest["member"].is_monotonic_increasing
    assert len(manifest) == len(list((repository / "data").rglob("*.jpg")))
    assert set(manifest["width"]) == {64} and set(manifest["height"]) == {128}
    for row in manifest.sample(5, random_state=0).itertuples():
        assert row.sha256 == sha256_file(repository / str(row.member))
        assert str(row.member).endswith(f"/{row.image_id}.jpg")


def test_data_may_be_a_link_but_no_folder_in_it(
    repository: Path, data_config: DataConfig, tmp_path: Path
) -> None:
    """DVC takes the digest of what is behind the first, and of nothing behind the second."""
    manifest, _ = prepare(repository, data_config)
    (repository / "data").rename(tmp_path / "disk")
    (repository / "data").symlink_to(tmp_path / "disk")
    linked, problems = prepare(repository, data_config)
    pd.testing.assert_frame_equal(linked, manifest)
    assert problems == []
    image = first(repository, "query")
    image.unlink()
    image.symlink_to("nowhere")
    _, problems = prepare(repository, data_config)
    assert [p[:2] for p in problems] == [(f"data/query/{image.name}", "unreadable")]
    train = tmp_path / "disk" / "bounding_box_train"
    train.rename(tmp_path / "elsewhere")
    train.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="data/bounding_box_train is a link to a folder, behind"):
        prepare(repository, data_config)


def test_validation_persons_follow_the_seed(repository: Path, data_config: DataConfig) -> None:
    draws = []
    for seed in (1, 1, 2, 3, 4):
        manifest, _ = prepare(repository, data_config, seed)
        val = manifest[manifest["split"] == "val"]
        assert val["person_id"].nunique() == 2
        assert not set(val["person_id"]) & set(
            manifest.loc[manifest["split"] != "val", "person_id"]
        )
        query, gallery = validation_protocol(manifest)
        assert (matches(query, gallery) > 0).all()
        draws.append(frozenset(val["person_id"]))
    assert draws[0] == draws[1] and len(set(draws)) > 1


def test_too_few_persons_to_hold_out(repository: Path, data_config: DataConfig) -> None:
    with pytest.raises(UserError, match=r"validation_persons is 5, but of 5"):
        prepare(repository, data_config.model_copy(update={"validation_persons": 5}))


def test_a_truncated_image_is_named_and_has_no_row(
    repository: Path, data_config: DataConfig
) -> None:
    image = first(repository, "query")
    data = image.read_bytes()
    for length in (0, 100, len(data) // 2, len(data) - 1):
        image.write_bytes(data[:length])
        manifest, problems = prepare(repository, data_config)
        assert [problem[:2] for problem in problems] == [(f"data/query/{image.name}", "unreadable")]
        assert f"data/query/{image.name}" not in set(manifest["member"])


def test_a_hostile_image_does_not_hold_the_stage(repository: Path, data_config: DataConfig) -> None:
    """A JPEG whose last scan comes 154,000 times: minutes for a decoder that takes it."""
    stream = io.BytesIO()
    Image.new("RGB", (3000, 3000)).save(stream, "JPEG", progressive=True)
    whole = stream.getvalue()
    last = whole[whole.rfind(b"\xff\xda") : -2]
    image = first(repository, "query")
    image.write_bytes(whole[:-2] + last * 154_000 + whole[-2:])
    start = time.perf_counter()
    manifest, problems = prepare(repository, data_config)
    assert time.perf_counter() - start < 10
    assert [problem[:2] for problem in problems] == [(f"data/query/{image.name}", "unreadable")]
    assert "more than 100 scans" in problems[0][2]
    assert f"data/query/{image.name}" not in set(manifest["member"])


def test_a_foreign_name_is_named(repository: Path, data_config: DataConfig) -> None:
    image = first(repository, "bounding_box_train")
    image.rename(image.with_name("holiday.jpg"))
    manifest, problems = prepare(repository, data_config)
    assert [p[:2] for p in problems] == [("data/bounding_box_train/holiday.jpg", "foreign name")]
    assert not manifest["member"].str.contains("holiday").any()


def test_a_name_without_camera_is_named(repository: Path, data_config: DataConfig) -> None:
    image = first(repository, "bounding_box_train")
    person = image.name.split("_")[0]
    image.rename(image.with_name(f"{person}_s1_999999_00.jpg"))
    manifest, problems = prepare(repository, data_config)
    file = f"data/bounding_box_train/{person}_s1_999999_00.jpg"
    assert [p[:2] for p in problems] == [(file, "no camera")]
    assert file in set(manifest["member"])


def test_a_person_in_two_splits_is_named(repository: Path, data_config: DataConfig) -> None:
    query = first(repository, "query")
    person = query.name.split("_")[0]
    strays = sorted((repository / "data/bounding_box_train").glob("*.jpg"))[:2]
    for index, stray in enumerate(strays):
        stray.rename(stray.with_name(f"{person}_c1s9_00000{index}_01.jpg"))
    _, problems = prepare(repository, data_config)
    assert [p[:2] for p in problems] == [
        (f"data/bounding_box_train/{person}_c1s9_00000{index}_01.jpg", "person in two splits")
        for index in range(2)
    ]
    assert f"person {person}" in problems[0][2] and f"/{person}_" in problems[0][2]


def test_a_duplicate_is_named_with_its_twin(repository: Path, data_config: DataConfig) -> None:
    gallery = first(repository, "bounding_box_test", "000[1-9]*.jpg")
    train = first(repository, "bounding_box_train")
    train.write_bytes(gallery.read_bytes())
    junk = sorted((repository / "data/bounding_box_test").glob("-1_*.jpg"))
    junk[1].write_bytes(junk[0].read_bytes())  # nobody uses it: no problem
    _, problems = prepare(repository, data_config)
    assert problems == [
        (
            f"data/bounding_box_train/{train.name}",
            "duplicate",
            f"same bytes as data/bounding_box_test/{gallery.name}",
        )
    ]


def test_a_query_without_match_is_named_with_the_cause(
    repository: Path, data_config: DataConfig
) -> None:
    query = first(repository, "query")
    person, camera = query.name.split("_")[0], query.name.split("_")[1].split("s")[0]
    for image in (repository / "data/bounding_box_test").glob(f"{person}_*.jpg"):
        if not image.name.startswith(f"{person}_{camera}s"):
            image.unlink()
    _, problems = prepare(repository, data_config)
    assert (
        f"data/query/{query.name}",
        "no match",
        f"the gallery has person {person} from camera {camera[1:]} only",
    ) in problems
    for image in (repository / "data/bounding_box_test").glob(f"{person}_*.jpg"):
        image.unlink()
    _, problems = prepare(repository, data_config)
    queries = sorted((repository / "data/query").glob(f"{person}_*.jpg"))
    assert problems == [
        (f"data/query/{q.name}", "no match", f"the gallery has no image of person {person}")
        for q in queries
    ]


def test_a_wrong_size_is_named(repository: Path, data_config: DataConfig) -> None:
    image = first(repository, "bounding_box_train")
    stream = io.BytesIO()
    Image.new("RGB", (32, 64)).save(stream, "JPEG")
    image.write_bytes(stream.getvalue())
    _, problems = prepare(repository, data_config)
    file = f"data/bounding_box_train/{image.name}"
    assert problems == [(file, "wrong size", "32x64 pixels, expected 64x128")]
