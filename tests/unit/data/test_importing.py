import os
import shutil
import tarfile
import unicodedata
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
    with pytest.raises(
        UserError, match="must be one of: market1501, dukemtmc, msmt17, csv, folders"
    ):
        layout_named("rendered")


def test_links_to_a_larger_disk_are_followed(rendered: Path, tmp_path: Path) -> None:
    """A split folder that is a link, and single images that are; what is counted arrives."""
    laid, disk = tmp_path / "laid", tmp_path / "disk"
    shutil.copytree(rendered, laid)
    shutil.move(laid / "bounding_box_train", disk / "train")
    (laid / "bounding_box_train").symlink_to(disk / "train")
    image = min((laid / "query").iterdir())
    shutil.move(image, disk / "one")
    image.symlink_to(disk / "one")
    (disk / "train" / "up").symlink_to(disk)  # a loop
    counts = import_dataset(laid, tmp_path / "data", MARKET1501, any_counts=True)
    assert tree(tmp_path / "data") == tree(rendered)
    arrived = list((tmp_path / "data").rglob("*.jpg"))
    assert sum(split.images for split in counts.values()) == len(arrived)
    assert not any(path.is_symlink() for path in arrived)
    import_dataset(laid, tmp_path / "data", MARKET1501, any_counts=True)  # the same: nothing to do


@pytest.mark.parametrize("layout", ["market1501", "csv", "folders", "msmt17"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_would_not_arrive_is_refused(
    rendered: Path, tmp_path: Path, layout: str, dry_run: bool
) -> None:
    laid = relay(rendered, layout, tmp_path / "laid")
    image = min(path for path in laid.rglob("*.jpg"))
    data = tmp_path / "repo" / "data"

    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            import_dataset(laid, data, layout_named(layout), any_counts=True, dry_run=dry_run)
        assert list((tmp_path / "repo").iterdir()) == []

    image.unlink()
    image.symlink_to("/gone/image.jpg")
    refused(f"{image.name}: links to nothing")
    image.unlink()
    image.parent.joinpath(os.fsdecode(b"J\xfcrgen.jpg")).touch()
    refused(r"J\\xfcrgen\.jpg: names that are not UTF-8; rename them")


def test_a_folder_called_like_an_image_is_not_counted(rendered: Path, tmp_path: Path) -> None:
    shutil.copytree(rendered, tmp_path / "laid")
    image = min((tmp_path / "laid" / "query").iterdir())
    image.unlink()
    image.mkdir()
    with pytest.raises(UserError, match=f"query/{image.name}: no files"):
        import_dataset(tmp_path / "laid", tmp_path / "data", MARKET1501, any_counts=True)


def test_data_may_be_a_link_to_a_larger_disk(rendered: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / "people").mkdir(parents=True)
    (tmp_path / "repo").mkdir()
    data = tmp_path / "repo" / "data"
    data.symlink_to(tmp_path / "disk" / "people")
    for name in ("", "town"):
        import_dataset(rendered, data, MARKET1501, name=name, any_counts=True)
    assert data.is_symlink()
    found = tree(tmp_path / "disk" / "people")
    assert len(found) == 2 * len(tree(rendered)) and any(
        n.startswith("others/town/") for n in found
    )
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["people"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write beside"):
        import_dataset(rendered, tmp_path / "file" / "data", MARKET1501, any_counts=True)


@pytest.mark.parametrize("layout", ["market1501", "csv", "folders"])
def test_packed_by_others(rendered: Path, tmp_path: Path, layout: str) -> None:
    """By Windows (backslashes), one folder deeper than expected, with macOS's own folder."""
    laid = relay(rendered, layout, tmp_path / "laid")
    archive = tmp_path / "it.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("Sent to me\\", b"")
        for name, data in tree(laid).items():
            windows = f"Sent to me/Download v2/{name}".replace("/", "\\")
            file.writestr(windows, data)
            file.writestr(f"__MACOSX/Download v2/{name}", b"Mac OS X")
    import_dataset(archive, tmp_path / "data", layout_named(layout), any_counts=True)
    assert tree(tmp_path / "data") == tree(laid)
    shutil.move(laid, tmp_path / "sent" / "download" / "laid")
    shutil.copytree(tmp_path / "sent" / "download", tmp_path / "sent" / "__MACOSX")
    import_dataset(tmp_path / "sent", tmp_path / "again", layout_named(layout), any_counts=True)
    assert tree(tmp_path / "again") == tree(tmp_path / "data")


def test_names_of_macos_are_found_by_a_table(rendered: Path, tmp_path: Path) -> None:
    """Letters in two parts, and a zip that does not say that its names are UTF-8."""
    laid = relay(rendered, "csv", tmp_path / "laid")
    table = (laid / "images.csv").read_text(encoding="utf-8-sig")
    assert "\u00fc" in unicodedata.normalize("NFC", table)
    counts = import_dataset(
        repack(laid, tmp_path / "it.zip"), tmp_path / "data", layout_named("csv")
    )
    assert counts == import_dataset(laid, tmp_path / "plain", layout_named("csv"))


def repack(laid: Path, archive: Path) -> Path:
    """A zip with names in two parts, UTF-8 without the flag that says so."""

    class Unsaid(zipfile.ZipInfo):
        def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
            return unicodedata.normalize("NFD", self.filename).encode(), self.flag_bits

    with zipfile.ZipFile(archive, "w") as file:
        for name, data in tree(laid).items():
            file.writestr(Unsaid(name), data)
    return archive


def test_a_suffix_given_twice_is_one(rendered: Path, tmp_path: Path) -> None:
    laid = tmp_path / "laid"
    shutil.copytree(rendered, laid)
    for path in list(laid.rglob("*.jpg")):
        path.rename(path.with_name(f"{path.name}.jpg"))
    plain, _ = MARKET1501.scan(rendered)
    found, problems = MARKET1501.scan(laid)
    assert problems == []
    assert [image._replace(path=Path()) for image in found] == [
        image._replace(path=Path()) for image in plain
    ]


def test_several_data_sets_are_ambiguous(rendered: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(rendered, tmp_path / "both" / name)
    with pytest.raises(UserError, match="has several data sets, one, two; give one"):
        import_dataset(tmp_path / "both", tmp_path / "data", MARKET1501, any_counts=True)


def test_what_was_found_instead_is_said(rendered: Path, tmp_path: Path) -> None:
    laid = relay(rendered, "csv", tmp_path / "laid")
    archive = zip_folder(laid, tmp_path / "it.zip", "Cameras/")
    for source in (laid, archive):
        with pytest.raises(UserError, match=r"it looks like a data set with images.csv \(--as csv"):
            import_dataset(source, tmp_path / "data", MARKET1501)
    (tmp_path / "other" / "holiday").mkdir(parents=True)
    (tmp_path / "other" / "holiday" / "a.jpg").touch()
    archive = zip_folder(tmp_path / "other", tmp_path / "other.zip", "")
    for source in (tmp_path / "other", archive):
        with pytest.raises(UserError, match=r"has no images.csv: found holiday, holiday/a.jpg; is"):
            import_dataset(source, tmp_path / "data", layout_named("csv"))
