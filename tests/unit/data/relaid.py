"""The rendered data set, laid out as other data sets are."""

from __future__ import annotations

import csv
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from lookalike.data.layouts import market1501
from lookalike.data.layouts.layout import Found


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def zip_folder(source: Path, archive: Path, prefix: str) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in tree(source).items():
            file.writestr(f"{prefix}{name}", data)
    return archive


def relay(rendered: Path, layout: str, target: Path) -> Path:
    """Lay `rendered` out in `target`; without distractors and junk where the layout has none."""
    found, _ = market1501.scan(rendered)
    for image, file in _LAYOUTS[layout](found, target):
        place = target / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image.path, place)
    return target


Placed = Iterator[tuple[Found, str]]
MARKET_FOLDERS = {split: folder for folder, split in market1501.FOLDERS.items()}
CAMERAS = ("gate", "hall 2", "hall 10", "roof", "yard", "zebra crossing")


def _market1501(found: list[Found], target: Path) -> Placed:
    for image in found:
        yield image, f"{image.path.parent.name}/{image.path.name}"


def _dukemtmc(found: list[Found], target: Path) -> Placed:
    for number, image in enumerate(found):
        if image.split in MARKET_FOLDERS:
            name = f"{image.person}_c{image.camera}_f{number:07d}.jpg"
            yield image, f"{MARKET_FOLDERS[image.split]}/{name}"


def _msmt17(found: list[Found], target: Path) -> Placed:
    """Persons numbered from 0 on either side; every seventh train image is in the list `val`."""
    target.mkdir(parents=True)
    numbers: dict[str, dict[str, int]] = {"train": {}, "test": {}}
    lists: dict[str, list[str]] = {name: [] for name in ("train", "val", "query", "gallery")}
    for number, image in enumerate(image for image in found if image.split in MARKET_FOLDERS):
        side = "train" if image.split == "train" else "test"
        person = numbers[side].setdefault(image.person, len(numbers[side]))
        name = f"{person:04d}_{number:03d}_{image.camera:02d}_0303morning_0008_0.jpg"
        file = f"{person:04d}/{name}"
        is_val = image.split == "train" and number % 7 == 0
        lists["val" if is_val else image.split].append(f"{file} {person}\n")
        yield image, f"{side}/{file}"
    for name, lines in lists.items():
        (target / f"list_{name}.txt").write_text("".join(lines))


def _csv(found: list[Found], target: Path) -> Placed:
    """Persons `Jürgen_0 7`, cameras by name, every name awkward."""
    target.mkdir(parents=True)
    with (target / "images.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["note", "file", "person", "camera", "split"])
        for number, image in enumerate(found):
            file = f"crops, all/c{image.camera}: ü {number}.jpg"
            person = (
                "anyone" if image.split in ("junk", "distractor") else f"Jürgen_0 {image.person}"
            )
            table.writerow(["", file, person, CAMERAS[image.camera - 1], image.split])
            yield image, file


def _folders(found: list[Found], target: Path) -> Placed:
    """The same file names in every folder."""
    numbers: dict[str, int] = {}
    for image in found:
        folder = f"{image.split}/P {image.person}/{CAMERAS[image.camera - 1]}"
        numbers[folder] = numbers.get(folder, 0) + 1
        yield image, f"{folder}/{numbers[folder]}.jpg"


_LAYOUTS = {
    "market1501": _market1501,
    "dukemtmc": _dukemtmc,
    "msmt17": _msmt17,
    "csv": _csv,
    "folders": _folders,
}
