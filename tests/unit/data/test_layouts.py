"""The rendered images, re-laid: every layout must tell the same of them."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path, PurePosixPath

import pandas as pd
import pytest

from lookalike.config import ArmConfig, DataConfig
from lookalike.data import manifest as manifests
from lookalike.data.expectations import validate_manifest
from lookalike.data.layouts.layout import Count, number_cameras, path_id
from lookalike.data.layouts.persons import PERSONS
from lookalike.data.layouts.sources import SOURCES
from lookalike.data.manifest import SPLITS
from lookalike.data.prepare import prepare_manifest
from lookalike.disk import is_utf8
from lookalike.errors import UserError
from lookalike.registry.evidence import leaked
from lookalike.synthesis.arms import real_rows

from .relaid import relay

LAYOUTS = ("dukemtmc", "msmt17", "csv", "folders")
LINE = "images.csv line"
HEADER = "file,person,camera,split\n"


def prepare(
    root: Path, config: DataConfig, **changes: object
) -> tuple[pd.DataFrame, list[tuple[str, str, str]]]:
    config = config.model_copy(update=changes)
    manifest, problems = prepare_manifest(root / "data", root, config, 1)
    return manifest, list(problems.itertuples(index=False, name=None))


def table(folder: Path, *rows: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "images.csv").write_text(HEADER + "\n".join(rows))
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_tells_the_same(
    rendered: Path, tmp_path: Path, data_config: DataConfig, layout: str
) -> None:
    relay(rendered, layout, tmp_path / "data")
    manifest, problems = prepare(tmp_path, data_config, source=layout)
    assert problems == []
    config = data_config.model_copy(update={"source": "rendered"})
    plain, _ = prepare_manifest(rendered, rendered.parent, config, 1)
    if layout in ("dukemtmc", "msmt17"):
        plain = plain[~plain["split"].isin(["distractor", "junk"])]

    def told(rows: pd.DataFrame) -> dict[str, object]:
        splits = rows["split"].replace("val", "train")
        return {
            sha256: (split, camera)
            for sha256, split, camera in zip(rows["sha256"], splits, rows["camera_id"], strict=True)
        }

    assert told(manifest) == told(plain)
    joined = manifest.merge(plain, on="sha256", suffixes=("", "_plain"))
    pairs = joined[["person_id", "person_id_plain"]].drop_duplicates()
    assert pairs["person_id"].is_unique and pairs["person_id_plain"].is_unique
    assert manifest["image_id"].is_unique
    # As evidence.leaked reads it out of a recipe.
    for image_id in manifest["image_id"]:
        assert re.findall(r"with=([^:,\s]+)", f"interpolate:0.4:with={image_id}") == [image_id]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_and_a_stray_file_are_told(
    rendered: Path,
    tmp_path: Path,
    data_config: DataConfig,
    capsys: pytest.CaptureFixture[str],
    layout: str,
) -> None:
    data = relay(rendered, layout, tmp_path / "data")
    images = sorted(data.rglob("*.jpg"))
    images[0].write_bytes(images[0].read_bytes()[:300])
    images[1].with_name("Thumbs.db").write_bytes(b"x")
    _, problems = prepare(tmp_path, data_config, source=layout)
    assert [p[:2] for p in problems] == [(f"data/{images[0].relative_to(data)}", "unreadable")]
    assert "left out 1 file outside of the layout" in capsys.readouterr().err


def test_msmt17_keeps_train_and_test_persons_apart(rendered: Path, tmp_path: Path) -> None:
    data = relay(rendered, "msmt17", tmp_path / "data")
    found, problems = SOURCES["msmt17"].scan(data)
    assert problems == []
    persons = {split: {i.person for i in found if i.split == split} for split in SPLITS}
    assert "train-0000" in persons["train"] and "test-0000" in persons["gallery"]
    assert persons["query"] <= persons["gallery"] and not persons["train"] & persons["gallery"]
    listed = len((data / "list_val.txt").read_text().split("\n")) - 1
    assert 0 < listed < sum(image.split == "train" for image in found)
    (data / "train").rename(data / "mask_train_v2")  # the second edition
    assert len(SOURCES["msmt17"].scan(data)[0]) == len(found)
    with (data / "list_query.txt").open("a") as stream:
        stream.write("../../secret.jpg 0\nonly-one-word\n0009/0009_0_01_gone.jpg 9\n")
    _, problems = SOURCES["msmt17"].scan(data)
    assert [p.problem for p in problems] == ["bad path", "bad line", "missing"]
    (data / "list_gallery.txt").write_text("\n")
    with pytest.raises(UserError, match=r"list_gallery.txt is empty"):
        SOURCES["msmt17"].scan(data)


def test_a_table_with_every_fault_names_each(tmp_path: Path) -> None:
    data = table(
        tmp_path / "data",
        "a.jpg,one,1,train",
        "../a.jpg,one,1,train",
        "/etc/passwd,one,1,train",
        "others/x.jpg,one,1,train",
        "gone.jpg,one,1,train",
        "a.jpg,two,1,train",
        "b.jpg,one,1,validation",
        "c.jpg,,1,train",
        "d.jpg,syn-000001,1,train",
        "e.jpg,-1,1,gallery",
        "f.jpg,0000,1,gallery",
        "g.jpg,somebody,1,distractor",
        "h.jpg,duke/7,1,train",
        "i.jpg,short",
        ",one,1,train",
    )
    for name in "abcdefghi":
        (data / f"{name}.jpg").write_bytes(b"x")
    found, problems = SOURCES["csv"].scan(data)
    assert sorted((p.file, p.problem) for p in problems) == [
        ("a.jpg", "listed twice"),
        ("b.jpg", "bad split"),
        ("c.jpg", "bad person"),
        ("d.jpg", "bad person"),
        ("e.jpg", "bad person"),
        ("f.jpg", "bad person"),
        ("gone.jpg", "missing"),
        ("h.jpg", "bad person"),
        ("i.jpg", "bad split"),
        ("images.csv line 16", "bad path"),
        ("images.csv line 3", "bad path"),
        ("images.csv line 4", "bad path"),
        ("images.csv line 5", "bad path"),
    ]
    assert [(i.path.name, i.person, i.split) for i in found] == [
        ("a.jpg", "one", "train"),
        ("g.jpg", "0000", "distractor"),
    ]


def test_a_table_names_files_as_another_system_does(tmp_path: Path) -> None:
    data = table(
        tmp_path / "data",
        "hall\\\\a.jpg,one,1,train",
        "Hall/B.JPG,one,2,train",
        "M\u00fcller/c.jpg,one,3,train",
        "hall/d.jpg,one,4,train",
        "hall/e.jpg,two,1,train",
        "hall/gone.jpg,two,2,train",
        "nowhere/gone.jpg,two,2,train",
        "hall/a.JPG,two,2,train",
        "hall/f.tif,two,2,train",
        "..\\\\secret.jpg,two,2,train",
    )
    files = ["a.jpg", "b.jpg", "../Mu\u0308ller/c.jpg", "d.jpg.jpg", "E.jpg", "e.JPG", "f.tif"]
    for name in files:
        (data / "hall" / name).parent.mkdir(exist_ok=True, parents=True)
    for name in files:
        (data / "hall" / name).touch()
    found, problems = SOURCES["csv"].scan(data)
    assert [image.path.name for image in found] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg.jpg"]
    assert problems == [
        ("hall/e.jpg", "missing", f"{LINE} 6 names it; it may be any of hall/E.jpg, hall/e.JPG"),
        (
            "hall/gone.jpg",
            "missing",
            f"{LINE} 7 names it; there is hall/, and it holds E.jpg, a.jpg, b.jpg, d.jpg.jpg "
            "and 2 more",
        ),
        (
            "nowhere/gone.jpg",
            "missing",
            f"{LINE} 8 names it; there is ./, and it holds Mu\u0308ller/, hall/, images.csv",
        ),
        ("hall/a.jpg", "listed twice", f"again in {LINE} 9"),
        ("hall/f.tif", "bad path", "hidden, or not .bmp, .jpeg, .jpg, .png, .webp"),
        (f"{LINE} 11", "bad path", "'..\\\\\\\\secret.jpg': its path leaves the folder with .."),
    ]


def test_names_that_are_not_utf8_are_a_problem_like_others(
    rendered: Path, tmp_path: Path, data_config: DataConfig
) -> None:
    data = relay(rendered, "folders", tmp_path / "data")
    image = min(data.glob("train/*/*/*"))
    image.rename(image.with_name(os.fsdecode(b"J\xfcrgen.jpg")))
    manifest, problems = prepare(tmp_path, data_config, source="folders")
    place = image.parent.relative_to(tmp_path).as_posix()
    assert problems == [(rf"{place}/J\xfcrgen.jpg", "bad name", "not UTF-8; rename it")]
    pd.DataFrame(problems).to_csv(tmp_path / "problems.csv", encoding="utf-8")
    assert len(manifest) == len(list(data.rglob("*.jpg"))) - 1
    person = next(path for path in data.glob("query/*"))
    person.rename(person.with_name(os.fsdecode(b"J\xfcrgen")))
    _, problems = prepare(tmp_path, data_config, source="folders")
    assert all(name.isprintable() and is_utf8(name) for name, _, _ in problems)
    assert len([p for p in problems if p[1] in ("bad name", "bad person")]) > 1


def test_what_was_found_instead_of_images_is_said(tmp_path: Path) -> None:
    (tmp_path / "train" / "Ada").mkdir(parents=True)
    (tmp_path / "train" / "Ada" / "1.jpg").touch()
    with pytest.raises(UserError, match=r"PERSON/CAMERA/IMAGE: found train/Ada/1.jpg$"):
        SOURCES["folders"].scan(tmp_path)
    for layout, message in (
        ("csv", "images.csv: No such file or directory; its folder: it holds train/"),
        ("market1501", "no folder bounding_box_train: it holds train/"),
        ("msmt17", "list_train.txt: No such file or directory; its folder: it holds train/"),
    ):
        with pytest.raises(UserError, match=message):
            SOURCES[layout].scan(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"file;person;camera;split\n", "no column file, person, camera, split"),
        (b"file,person,split\na.jpg,1,train\n", "no column camera"),
        (HEADER.encode(), "names no image"),
        (HEADER.encode() + "Jürgen".encode("latin-1"), "not UTF-8"),
        (b"PK\3\4\xff a spreadsheet", "images.csv is a zip archive; save it as text in UTF-8"),
        (HEADER.encode() + b'"a.jpg"x,1,1,train\n', "not CSV after line 1"),
    ],
)
def test_a_table_that_is_none_is_one_line(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "images.csv").write_bytes(text)
    with pytest.raises(UserError, match=message) as error:
        SOURCES["csv"].scan(tmp_path)
    assert "\n" not in str(error.value)


def test_person_0000_is_ordinary_where_nobody_is_a_distractor(tmp_path: Path) -> None:
    data = table(tmp_path / "data", "a.jpg,0000,1,query", "b.jpg,0000,2,gallery")
    for name in "ab":
        (data / f"{name}.jpg").write_bytes(b"x")
    found, problems = SOURCES["csv"].scan(data)
    assert problems == [] and {image.person for image in found} == {"0000"}


def test_cameras_are_numbers_or_numbered() -> None:
    assert number_cameras(["2", "07", "2"]) == {"2": 2, "07": 7, "": 0}
    assert number_cameras(["10", "0", "9"]) == {"0": 1, "9": 2, "10": 3, "": 0}
    assert number_cameras(["cam 10", "cam 9", "", "7"]) == {"7": 1, "cam 9": 2, "cam 10": 3, "": 0}
    assert number_cameras(["99999999999"]) == {"99999999999": 1, "": 0}


def test_image_ids_have_nothing_that_ends_a_recipe() -> None:
    assert path_id(PurePosixPath("train/a b/c:1,ü.x.jpg")) == "train/a%20b/c%3A1%2C%C3%BC.x"


def test_one_camera_for_everything_is_said(
    rendered: Path, tmp_path: Path, data_config: DataConfig
) -> None:
    data = relay(rendered, "csv", tmp_path / "data")
    text = (data / "images.csv").read_text()
    for camera in ("gate", "hall 2", "hall 10", "roof", "yard", "zebra crossing"):
        text = text.replace(f",{camera},", ",entrance,")
    (data / "images.csv").write_text(text)
    with pytest.raises(UserError, match="validation_persons is 2") as error:
        prepare(tmp_path, data_config, source="csv")
    assert "all test images have the same camera: give them their real ones" in str(error.value)
    assert "data/crops, all/c1: ü" in str(error.value)


def test_badly_damaged_data_still_names_its_files(
    rendered: Path, tmp_path: Path, data_config: DataConfig
) -> None:
    data = relay(rendered, "folders", tmp_path / "data")
    for image in (data / "train").rglob("*.jpg"):
        image.write_bytes(b"no image")
    with pytest.raises(UserError, match="validation_persons is 2, but of 0") as error:
        prepare(tmp_path, data_config, source="folders")
    assert len(re.findall(r"data/train/\S+ .*: unreadable", str(error.value))) == 10
    for image in (data / "query").rglob("*.jpg"):
        image.unlink()
    with pytest.raises(UserError, match="no readable image of the split query"):
        prepare(tmp_path, data_config, source="folders")


def test_published_figures_are_demanded_unless_told_otherwise(
    rendered: Path, tmp_path: Path, data_config: DataConfig
) -> None:
    relay(rendered, "dukemtmc", tmp_path / "data")
    outcome = {}
    for as_published in (True, False):
        config = data_config.model_copy(update={"source": "dukemtmc", "as_published": as_published})
        manifest, problems = prepare_manifest(tmp_path / "data", tmp_path, config, 1)
        outcome[as_published] = validate_manifest(manifest, problems, config, tmp_path / "docs")
    failed = {c["table"] for c in outcome[True].expectations if not c["success"]}
    assert failed == {"counts"} and not outcome[True].success
    assert outcome[False].success


@pytest.fixture
def two_sets(repository: Path, rendered: Path) -> Path:
    """Rendered data, and the same images as a CSV in data/others, recompressed by one byte."""
    others = relay(rendered, "csv", repository / "data" / "others" / "town")
    for image in others.rglob("*.jpg"):
        image.write_bytes(image.read_bytes() + b"\0")
    return repository


def test_another_data_set_joins_the_arms_that_ask_for_it(
    two_sets: Path, data_config: DataConfig
) -> None:
    alone, _ = prepare(two_sets, data_config)
    config = data_config.model_copy(update={"others": {"town": "csv"}})
    manifest, problems = prepare_manifest(two_sets / "data", two_sets, config, 1)
    assert problems.empty
    other = manifest[manifest["split"] == "other"]
    own = manifest[manifest["split"] != "other"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone)
    assert other["person_id"].str.startswith("town/Jürgen_0 ").all()
    assert other["image_id"].str.startswith("town/").all()
    held_in = Counter(own["split"])
    assert len(other) == held_in["train"] + held_in["val"]
    for protocol in (manifests.test_protocol, manifests.validation_protocol):
        for seen, before in zip(protocol(manifest), protocol(alone), strict=True):
            pd.testing.assert_frame_equal(seen, before)

    def rows(*real: str) -> list[str]:
        return sorted(set(real_rows(manifest, ArmConfig(images=("none",), real=real))["split"]))

    assert (rows("own"), rows("town"), rows("own", "town")) == (
        ["train"],
        ["other"],
        ["other", "train"],
    )
    transfer = real_rows(manifest, ArmConfig(images=("none",), real=("town",)))
    assert leaked({"reid": transfer}, manifest)["reid"] == ()
    peeking = pd.concat([transfer, manifest[manifest["split"] == "query"].head(1)])
    assert leaked({"reid": peeking}, manifest)["reid"] != ()

    verdict = validate_manifest(manifest, problems, config, two_sets / "docs")
    verdict.check()
    assert {c["table"] for c in verdict.expectations} >= {"images-town", "all-images"}


def test_faults_of_another_data_set_are_named(two_sets: Path, data_config: DataConfig) -> None:
    others = {"town": "csv"}
    town = two_sets / "data" / "others" / "town"
    found, _ = SOURCES["csv"].scan(town)
    gone, copied = [image.path for image in found if image.split == "train"][:2]
    gone.unlink()
    twin = sorted((two_sets / "data" / "query").iterdir())[0]
    copied.write_bytes(twin.read_bytes())
    _, problems = prepare(two_sets, data_config, others=others)
    assert sorted(p[:2] for p in problems) == sorted(
        [
            (f"data/others/town/crops, all/{gone.name}", "missing"),
            (f"data/others/town/crops, all/{copied.name}", "duplicate"),
        ]
    )
    with pytest.raises(UserError, match=r"data import PATH --as msmt17 --name sea` brings it"):
        prepare(two_sets, data_config, others={"sea": "msmt17"})


def test_published_counts_add_up() -> None:
    assert SOURCES["dukemtmc"].counts == {
        "train": Count(16_522, 702),
        "query": Count(2_228, 702),
        "gallery": Count(17_661, 1_110),
    }
    counts = SOURCES["msmt17"].counts
    assert counts is not None
    assert counts["train"].images == 30_248 + 2_373
    assert sum(one.images for one in counts.values()) == 126_441


def test_a_folder_per_person_is_all_train(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/1.PNG", "a/x.jpg", ".hidden/1.jpg", "-1/1.jpg", "a/deep/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found, problems = PERSONS.scan(tmp_path)
    assert [(image.image_id, image.person, image.split) for image in found] == [
        ("a/x", "a", "train"),
        ("b/1", "b", "train"),
        ("b/2", "b", "train"),
    ]
    assert [problem.file for problem in problems] == ["-1/1.jpg"]
    for name in ("bounding_box_train", "bounding_box_test", "query"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="say --as market1501"):
        PERSONS.scan(tmp_path)
