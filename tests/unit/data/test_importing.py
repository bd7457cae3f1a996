import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from lookalike.data.importing import import_dataset, layout_named
from lookalike.data.layouts.layout import Count
from lookalike.data.layouts.market1501 import MARKET1501
from lookalike.errors import UserError

from .relaid import relay, tree, zip_folder


@pytest.mark.parametrize("prefix", ["", "Market-1501-v15.09.15/"])
def test_import_takes_the_three_folders_from_a_zip(
    rendered: Path, tmp_path: Path, prefix: str
) -> None:
    archive = zip_folder(rendered, tmp_path / "market.zip", prefix)
    with zipfile.ZipFile(archive, "a") as file:
        image = "0001_c1s1_000001_00.jpg"
        for extra in ("readme.txt", "query/Thumbs.db", f"gt_bbox/{image}", f"query/._{image}"):
            file.writestr(f"{prefix}{extra}", b"left behind")
        file.writestr(f"__MACOSX/query/{image}", b"left behind")
    counts = import_dataset(archive, tmp_path / "repo" / "data", MARKET1501, any_counts=True)
    assert tree(tmp_path / "repo" / "data") == tree(rendered)
    assert counts["train"].persons == 5 and counts["query"].persons == 3
    assert counts["junk"] == Count(2, 1)
    assert [path.name for path in (tmp_path / "repo").iterdir()] == ["data"]


def test_import_takes_a_tar_and_a_folder(rendered: Path, tmp_path: Path) -> None:
    archive = tmp_path / "market.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(rendered, "Market-1501-v15.09.15")
    import_dataset(archive, tmp_path / "tar", MARKET1501, any_counts=True)
    nested = tmp_path / "download"
    shutil.copytree(rendered, nested / "Market-1501-v15.09.15")
    (nested / "Market-1501-v15.09.15" / "gt_query").mkdir()
    import_dataset(nested, tmp_path / "folder", MARKET1501, any_counts=True)
    assert tree(tmp_path / "tar") == tree(tmp_path / "folder") == tree(rendered)


def test_import_checks_counts_before_anything_appears(rendered: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train: expected 12,936 images of 751 persons, found \d+"):
        import_dataset(rendered, tmp_path / "data", MARKET1501)
    assert list(tmp_path.iterdir()) == []


def test_import_leaves_other_data_alone(rendered: Path, tmp_path: Path) -> None:
    target = tmp_path / "data"
    import_dataset(rendered, target, MARKET1501, any_counts=True)
    import_dataset(rendered, target, MARKET1501, any_counts=True)  # the same again is fine
    image = next((target / "query").iterdir())
    image.write_bytes(b"mine")
    before = tree(target)
    with pytest.raises(UserError, match="holds other data"):
        import_dataset(rendered, target, MARKET1501, any_counts=True)
    assert tree(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_import_says_what_it_wants(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no bounding_box_train"):
        import_dataset(tmp_path / "empty", tmp_path / "data", MARKET1501, any_counts=True)
    with pytest.raises(UserError, match="nothing at"):
        import_dataset(tmp_path / "missing.zip", tmp_path / "data", MARKET1501, any_counts=True)


@pytest.mark.parametrize("layout", ["dukemtmc", "msmt17", "csv", "folders"])
def test_every_layout_is_imported_from_a_zip_and_found_there_again(
    rendered: Path, tmp_path: Path, layout: str
) -> None:
    laid = relay(rendered, layout, tmp_path / "laid")
    archive = zip_folder(laid, tmp_path / "it.zip", "Download v2/")
    with zipfile.ZipFile(archive, "a") as file:
        for extra in ("readme.txt", ".hidden/train/p/1/x.jpg", "__MACOSX/query/x.jpg"):
            file.writestr(extra, b"left behind")
        file.writestr("Download v2/readme.txt", b"left behind")
    data = tmp_path / "repo" / "data"
    counts = import_dataset(archive, data, layout_named(layout), any_counts=True)
    assert tree(data) == tree(laid)
    assert counts["train"].persons == 5 and counts["gallery"].persons == 3
    import_dataset(laid, data, layout_named(layout), any_counts=True)  # the same: nothing to do


def test_main_and_other_data_sets_leave_each_other_alone(rendered: Path, tmp_path: Path) -> None:
    laid = {one: relay(rendered, one, tmp_path / one) for one in ("csv", "folders")}
    original = tree(laid["csv"])
    (laid["csv"] / "others").mkdir()
    (laid["csv"] / "others" / "x.jpg").write_bytes(b"of another data set: left behind")
    data = tmp_path / "repo" / "data"
    for name, layout in (("town", "csv"), ("hall-2", "folders"), ("", "csv"), ("town", "csv")):
        import_dataset(laid[layout], data, layout_named(layout), name=name)
    assert tree(data / "others" / "town") == original
    assert tree(data / "others" / "hall-2") == tree(laid["folders"])
    main = {name: x for name, x in tree(data).items() if not name.startswith("others/")}
    assert main == original
    assert sorted(path.name for path in (data / "others").iterdir()) == ["hall-2", "town"]
    with pytest.raises(UserError, match="holds other data"):
        import_dataset(laid["folders"], data, layout_named("folders"))
    with pytest.raises(UserError, match="no name for a data set"):
        import_dataset(laid["csv"], data, layout_named("csv"), name="../up")
    assert [path.name for path in (tmp_path / "repo").iterdir()] == ["data"]


def test_a_dry_run_counts_and_writes_nothing(rendered: Path, tmp_path: Path) -> None:
    archive = zip_folder(relay(rendered, "csv", tmp_path / "csv"), tmp_path / "csv.zip", "")
    data = tmp_path / "repo" / "data"
    counts = import_dataset(archive, data, layout_named("csv"), dry_run=True)
    assert counts["distractor"] == Count(2, 1)
    assert list((tmp_path / "repo").iterdir()) == []


def test_an_unknown_layout_is_one_line() -> None:
    with pytest.raises(UserError, match="give --as market1501, dukemtmc, msmt17, csv, folders"):
        layout_named("rendered")
