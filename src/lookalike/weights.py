"""The home of weights that others publish: what there is, where it belongs, whether it is genuine.

Files lie in `weights/` of the repository, or in the folder that `LOOKALIKE_WEIGHTS` names. Nothing
is downloaded: a missing file is an error that names it, its address, digest, licence and place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lookalike.config import PACKAGED, Config
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.formats import format_of_file
from lookalike.words import meant
from lookalike.workspace import workspace

VARIABLE = "LOOKALIKE_WEIGHTS"
PACKAGE = Path(__file__).parent
NVIDIA_LICENCE = (
    "NVIDIA Source Code License: research and evaluation only, NOT commercial use; "
    "models trained from it inherit that"
)
State = Literal["verified", "unverified", "missing", "not imported", "wrong"]


@dataclass(frozen=True)
class WeightsFile:
    """One file of weights.

    Attributes:
        name: what parameters and `lookalike weights` call it.
        file_name: what it must be called in the home.
        address: where it is published.
        sha256: of its bytes; None where no digest is published (then it counts as unverified).
        licence: the terms it comes under.
        shipped: part of this package; `file_name` is then relative to the package.
        imported_from: the published file, where `file_name` is what `lookalike weights import`
            makes of it; `address` and `licence` are the published file's.
        detector: whose it is, by the name in `filter.detector`; "" for nobody's.
    """

    name: str
    file_name: str
    address: str
    sha256: str | None
    licence: str
    shipped: bool = False
    imported_from: str = ""
    detector: str = ""

    def place(self, root: Path) -> Path:
        """Where the file belongs; `root` is the repository root."""
        return (PACKAGE if self.shipped else home(root)) / self.file_name


@dataclass(frozen=True)
class WeightsStatus:
    """What was found at a file's place.

    `unverified` is a file that is there while nobody publishes its digest; `not imported` means
    that only the published file is there. `found` is the SHA-256 of what is there, "" where nothing
    is.
    """

    file: WeightsFile
    path: Path
    state: State
    found: str

    @property
    def usable(self) -> bool:
        """Whether `find` would return it."""
        return self.state in ("verified", "unverified")

    @property
    def advice(self) -> str:
        """One line: what is the matter, and what to do."""
        file, published = self.file, self.file.sha256 or "not published"
        if self.state == "verified":
            return f"{self.path}"
        if self.state == "unverified":
            return f"{self.path} (no digest is published; this file's SHA-256 is {self.found})"
        if file.shipped:
            return f"{self.path} is missing from this installation; how it is made: {file.address}"
        if not file.address:
            return f"put {self.path} there, or let `lookalike weights import` make it"
        if self.state == "not imported":
            source = self.path.with_name(file.imported_from)
            return f"{source} is there: run `lookalike weights import {source}`"
        if self.state == "missing":
            place = self.path.with_name(file.imported_from or file.file_name)
            command = f" and run `lookalike weights import {place}`" if file.imported_from else ""
            return (
                f"put {place.name} at {place}{command}; published at {file.address}; "
                f"SHA-256 {published}; licence: {file.licence}"
            )
        return (
            f"{self.path} is damaged or another file ({format_of_file(self.path)}): its SHA-256 is "
            f"{self.found}, published is {published}; fetch it again from {file.address}"
        )


FILES = {
    file.name: file
    for file in (
        WeightsFile(
            "starting-generator",
            "stylegan3/starting_generator.safetensors",
            "docs/architecture.md",
            None,
            "MIT, part of this package",
            shipped=True,
        ),
        WeightsFile(
            "starting-encoder",
            "inversion/starting_encoder.safetensors",
            "docs/architecture.md",
            None,
            "MIT, part of this package",
            shipped=True,
        ),
        WeightsFile(
            "stylegan3-t-ffhqu-256",
            "stylegan3-t-ffhqu-256x256.safetensors",
            "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/research/models/stylegan3",
            None,
            NVIDIA_LICENCE,
            imported_from="stylegan3-t-ffhqu-256x256.pkl",
        ),
        WeightsFile(
            "stylegan3-r-ffhqu-256",
            "stylegan3-r-ffhqu-256x256.safetensors",
            "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/research/models/stylegan3",
            None,
            NVIDIA_LICENCE,
            imported_from="stylegan3-r-ffhqu-256x256.pkl",
        ),
        WeightsFile(
            "resnet50-imagenet",
            "resnet50-0676ba61.pth",
            "https://download.pytorch.org/models/resnet50-0676ba61.pth",
            "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
            "BSD-3-Clause (torchvision); trained on ImageNet, whose terms are for research",
        ),
        WeightsFile(
            "vgg16-imagenet",
            "vgg16-397923af.pth",
            "https://download.pytorch.org/models/vgg16-397923af.pth",
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
            "BSD-3-Clause (torchvision); trained on ImageNet, whose terms are for research",
        ),
        WeightsFile(
            "alexnet-imagenet",
            "alexnet-owt-7be5be79.pth",
            "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
            "BSD-3-Clause (torchvision); trained on ImageNet, whose terms are for research",
        ),
        WeightsFile(
            "inception-2015",
            "pt_inception-2015-12-05-6726825d.pth",
            "https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights",
            "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            "Apache-2.0",
        ),
        WeightsFile(
            "yolov4-tiny-cfg",
            "yolov4-tiny.cfg",
            "https://github.com/AlexeyAB/darknet/blob/master/cfg/yolov4-tiny.cfg",
            "f858e3724962eedf3ac44e3b6cb3f0c3d9ed067c306bb831f539c578b924c90e",
            "public domain (Darknet's YOLO LICENSE)",
            detector="yolov4-tiny",
        ),
        WeightsFile(
            "yolov4-tiny-weights",
            "yolov4-tiny.weights",
            "https://github.com/AlexeyAB/darknet/releases/tag/yolov4",
            "cf9fbfd0f6d4869b35762f56100f50ed05268084078805f0e7989efe5bb8ca87",
            "public domain (Darknet's YOLO LICENSE)",
            detector="yolov4-tiny",
        ),
    )
}


def home(root: Path) -> Path:
    """The folder of external weights: `LOOKALIKE_WEIGHTS`, else the repository's `weights/`.

    Raises:
        UserError: the variable names no folder; a slip there must not look like missing weights.
    """
    named = os.environ.get(VARIABLE)
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise UserError(
                f"{VARIABLE} is {named}, where no folder is: make it, correct the variable, or "
                "unset it for the repository's weights/"
            )
        return folder
    return (root if workspace(root) == root.resolve() else workspace(root)) / "weights"


def accept(names: Iterable[str]) -> None:
    """Ask for no digest of these files in this process: a rehearsal's have the shapes alone."""
    for name in names:
        if name in FILES:
            FILES[name] = replace(FILES[name], sha256=None)


def status(names: Iterable[str], root: Path) -> list[WeightsStatus]:
    """Look at each named file and hash it (about a second per gigabyte).

    A name that ends in `.safetensors` is a file of the user's own in the home, or a path.

    Raises:
        UserError: another name that is not in `FILES`.
    """
    found = []
    for name in names:
        if name not in FILES and not name.endswith(".safetensors"):
            raise UserError(f"no weights are called {name}; {meant(name, sorted(FILES))}")
        file = FILES.get(name, WeightsFile(name, name, "", None, ""))
        path = file.place(root)
        if not path.is_file():
            source = path.with_name(file.imported_from) if file.imported_from else None
            absent: State = "not imported" if source and source.is_file() else "missing"
            found.append(WeightsStatus(file, path, absent, ""))
            continue
        digest = sha256_file(path)
        if file.shipped or digest == file.sha256:
            found.append(WeightsStatus(file, path, "verified", digest))  # git vouches for ours
        else:
            state: State = "wrong" if file.sha256 else "unverified"
            found.append(WeightsStatus(file, path, state, digest))
    return found


def find(name: str, root: Path) -> Path:
    """The path of a file of weights, its SHA-256 verified.

    Raises:
        UserError: unknown, missing (says what to fetch, from where, and where to put it), not yet
            imported, or not the file that was published.
    """
    [entry] = status([name], root)
    if not entry.usable:
        raise UserError(f"weights {name}: {entry.advice}")
    return entry.path


def required_by_stage(config: Config) -> dict[str, list[str]]:
    """Names of the weights that each stage reads with these parameters."""
    start, inception = config.gan.start, config.gan.distance_features == "inception"
    encoder, backbone = config.encoder.start, config.encoder.perceptual_backbone
    start_of_reid = config.reid.weights
    return {
        "train_reid": [] if start_of_reid in ("none", *PACKAGED) else [start_of_reid],
        "train_gan": [
            *([start] if start != "none" else []),
            *(["inception-2015"] if inception else []),
        ],
        "train_encoder": [
            *([encoder] if encoder != "none" else []),
            *([backbone] if backbone.endswith("-imagenet") else []),  # others need no file
        ],
        "filter": of_detector(config.filter.detector),
    }


def required_for(config: Config) -> list[str]:
    """Names of the weights that a profile's stages read, in the pipeline's order."""
    return [name for names in required_by_stage(config).values() for name in names]


def of_detector(detector: str) -> list[str]:
    """The files of a detector of `filter.detector`."""
    return [name for name, file in FILES.items() if file.detector == detector]
