"""What people give a command, looked at before anything heavy is imported for it.

The functions are callbacks of the command line's options: they return the value, or raise. The
library calls them too, so that a mistake is told in the same words wherever it is found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from lookalike.disk import pictures_in
from lookalike.errors import UserError
from lookalike.formats import HEAD, format_of, format_of_file
from lookalike.names import THE_CHAMPION, counted
from lookalike.words import not_among

MAX_SEEDS = 1000  # a sheet holds all of them
MADE_BY = "lookalike"  # the key of the metadata that its model files have
DECODED = ("a JPEG picture", "a PNG picture", "a BMP picture", "a WebP picture")
ANOTHER_NAME = "give --output another name"
FEWEST = 4  # pictures that a distance needs
NPZ = ("a zip archive", "an empty zip archive")
FEATURES = "give an .npz file of features, as `lookalike evaluate --help` describes it"
PICTURES_ARE_FOR = (
    "pictures are for `lookalike embed` (their features), `lookalike train` (a model of them, "
    "measured) and `lookalike distance` (between two folders)"
)
NO_PICKLE = {  # what to do about a file of another kind
    "a safetensors file": ": a checkpoint of lookalike needs no import, gan.start takes it",
    "a PyTorch file (.pt, .pth)": ": give NVIDIA's own .pkl",
    "an HTML page": ": download the file itself",
}


def word_of(option: str, known: Sequence[str]) -> Callable[[str], str]:
    """The parser of an option that takes one of a few words."""

    def parse(word: str) -> str:
        if word not in known:
            raise UserError(f"{option}: {not_among(word, known)}")
        return word

    return parse


def completing(known: Sequence[str]) -> Callable[[str], list[str]]:
    """What a shell offers for an option that takes one of a few words."""

    def complete(incomplete: str) -> list[str]:  # typer passes arguments by these names
        return [word for word in known if word.startswith(incomplete)]

    return complete


def weights_file(path: Path) -> Path:
    """A file of weights, by its header.

    Raises:
        UserError: it is missing, no safetensors file, cut short, or another program's.
    """
    if not path.is_file():
        raise UserError(f"no weights at {path}; run `dvc repro` or `dvc pull` to get them")
    if (kind := format_of_file(path)) != "a safetensors file":
        raise UserError(f"{path} is not a weights file of lookalike: it is {kind}")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise UserError(
            f"{path} is damaged or cut short ({error}); make it again, or get it from where it "
            "came from"
        ) from error
    if MADE_BY not in metadata:
        raise UserError(
            f"{path} is not a weights file of lookalike: it is a safetensors file of another "
            "program"
        )
    return path


def is_version(model: str) -> bool:
    """Whether `--model` names the champion or another version, not a file."""
    return model == THE_CHAMPION or model.isdecimal()


def chosen_model(model: str) -> str:
    """What `--model` takes: @champion, a version's number, or a file of weights.

    Raises:
        UserError: it is none of these.
    """
    if is_version(model):
        return model
    if not Path(model).is_file():
        raise UserError(f"no model {model}: give {THE_CHAMPION}, a version or a file of weights")
    weights_file(Path(model))
    return model


def pictures_folder(folder: Path) -> Path:
    """A folder with pictures in it, or in the folders in it.

    Raises:
        UserError: no such folder, or no picture in it.
    """
    if not pictures_in(folder):
        raise UserError(f"{folder} holds no picture")
    return folder


def picture_file(path: Path) -> Path:
    """A picture, by its first bytes.

    Raises:
        UserError: it is missing, or something else.
    """
    if not path.is_file():
        raise UserError(f"no picture at {path}")
    if (kind := format_of_file(path)) not in DECODED:
        raise UserError(f"{path} is not a readable image: it is {kind}")
    return path


def compared_folder(folder: Path) -> Path:
    """A folder with as many pictures as a distance needs; see `compared_pictures`."""
    compared_pictures(folder)
    return folder


def compared_pictures(folder: Path) -> list[str]:
    """The pictures of a folder and the folders in it, as many as a distance needs.

    Raises:
        UserError: no such folder, or fewer in it.
    """
    names = pictures_in(folder)
    if not names:
        raise UserError(f"{folder} holds no picture")
    if len(names) < FEWEST:
        raise UserError(
            f"{folder} holds {counted(len(names), 'picture')}; a distance needs {FEWEST}, and "
            "means little below hundreds"
        )
    return names


def features_file(path: Path) -> Path:
    """An npz file of features, by its first bytes.

    Raises:
        UserError: it is missing, or something else; of pictures, says which commands take them.
    """
    if path.is_dir():
        if pictures_in(path):
            raise UserError(f"{path} is a folder of pictures; {FEATURES}; {PICTURES_ARE_FOR}")
        raise UserError(f"{path} is a folder; {FEATURES}")
    if not path.is_file():
        raise UserError(f"no file at {path}; {FEATURES}")
    if (kind := format_of_file(path)) not in NPZ:
        raise UserError(f"{path} holds no features, it is {kind}; {FEATURES}")
    return path


def new_file(path: Path | None) -> Path | None:
    """A file that can be written; its folder is made later. None, where nothing is to be written.

    Raises:
        UserError: a folder is there, or no folder can be made for it, or not be written to.
    """
    if path is None:
        return None
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; give a file's name")
    _writable(path.parent, path)
    return path


def new_weights_file(path: Path | None) -> Path | None:
    """`new_file` that is called *.safetensors.

    Raises:
        UserError: also where it is called otherwise.
    """
    if path is not None and path.suffix != ".safetensors":
        raise UserError(f"cannot write {path}: the name must end in .safetensors")
    return new_file(path)


def refuse_overwriting(output: Path, *given: Path) -> None:
    """Refuse to write over what is read.

    Args:
        output: the file to write.
        given: files and folders to read, whether they are there or not.

    Raises:
        UserError: `output` is one of them, or a picture in one of these folders.
    """
    if not output.exists():
        return
    if any(path.exists() and output.samefile(path) for path in given):
        raise UserError(f"cannot write {output}: it is the file to be read; {ANOTHER_NAME}")
    inside = any(output.absolute().is_relative_to(path.absolute()) for path in given)
    if inside and format_of_file(output) in DECODED:
        raise UserError(f"cannot write {output}: it is one of the pictures; {ANOTHER_NAME}")


def new_folder(folder: Path) -> Path:
    """A folder to fill: one that is not there yet, or an empty one.

    Raises:
        UserError: it is a file, holds files (they would lie among the new ones), or cannot be made.
    """
    if _folder(folder).exists() and any(folder.iterdir()):
        raise UserError(f"{folder} holds files already; give --output an empty or a new folder")
    return folder


def any_folder(folder: Path) -> Path:
    """A folder to write to, whatever it holds.

    Raises:
        UserError: it is a file, or cannot be made or written to.
    """
    return _folder(folder)


def not_a_pickle(content: bytes) -> str:
    """What bytes are instead of a pickle, and what to do then; "" where they begin as one does."""
    if content[:1] == b"\x80":
        return ""
    kind = format_of(content)
    return f"it is {kind}, no pickle{NO_PICKLE.get(kind, '')}"


def pickle_file(path: Path) -> Path:
    """A checkpoint to import, by its first bytes.

    Raises:
        UserError: it is missing, or no pickle.
    """
    if not path.is_file():
        raise UserError(f"no file at {path}")
    try:
        with path.open("rb") as stream:
            reason = not_a_pickle(stream.read(HEAD))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}; look at its rights and its disk") from error
    if reason:
        raise UserError(f"{path} is refused, and nothing in it was run: {reason}")
    return path


def parse_seeds(text: str, fewest: int = 1) -> list[int]:
    """Seeds and ranges, ends included, in the order given: `0-2,42` is [0, 1, 2, 42].

    Raises:
        UserError: something else, a range that runs backwards, fewer seeds than `fewest`, or more
            than 1,000.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,18})(?:\s*-\s*([0-9]{1,18}))?\s*", part)
        if not match:
            raise UserError(f"seeds {text!r}: write numbers and ranges such as 0-15,42")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"seeds {text!r}: {part.strip()} runs backwards")
        if len(seeds) + last - first + 1 > MAX_SEEDS:
            raise UserError(f"seeds {text!r}: more than {MAX_SEEDS:,}; ask for fewer at a time")
        seeds.extend(range(first, last + 1))
    if len(seeds) < fewest:
        raise UserError(f"seeds {text!r}: give {fewest} or more, such as 3,17 or 0-4")
    return seeds


def _folder(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"cannot write to {folder}: it is a file; give --output a folder")
    _writable(folder, folder)
    return folder


def _writable(folder: Path, wanted: Path) -> None:
    """Refuse what the nearest folder that is there already cannot take."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UserError(f"cannot write {wanted}: {there} is a file; choose another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"cannot write {wanted}: you may not write to {there}; choose another place"
        )
