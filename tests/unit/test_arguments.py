"""What commands are given: accepted, or refused in one line."""

from __future__ import annotations

import os
from inspect import signature
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from typer import Context
from typer.main import get_command

from lookalike import cli_latents
from lookalike.arguments import (
    MADE_BY,
    any_folder,
    chosen_model,
    compared_folder,
    features_file,
    new_file,
    new_folder,
    new_weights_file,
    parse_seeds,
    pickle_file,
    picture_file,
    pictures_folder,
    refuse_overwriting,
    weights_file,
    word_of,
)
from lookalike.cli_latents import GROUPS
from lookalike.cli_measure import EFFICIENTNET
from lookalike.config import Group
from lookalike.disk import pictures_in
from lookalike.errors import UserError
from lookalike.metrics.imagenet import ImagenetFeatures
from lookalike.training.model_file import METADATA_KEY


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, an empty folder, one with a picture, and the heads of weights, a pickle and a zip."""
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("words")
    save_file({}, "weights", {"lookalike": "{}"})
    save_file({}, "others", {"format": "pt"})
    Path("short").write_bytes(Path("weights").read_bytes()[:-1])
    Path("pickle").write_bytes(b"\x80\x03")
    Path("zip").write_bytes(b"PK\x03\x04")
    Path("empty").mkdir()
    Path("people", "deep").mkdir(parents=True)
    for name in ("a.JPG", "b.png", "c.webp", "d.jpeg"):
        Path("people", "deep", name).write_bytes(b"\xff\xd8\xff")
    Path("few").mkdir()
    Path("few", "a.jpg").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (weights_file, Path("weights")),
        (chosen_model, "@champion"),
        (chosen_model, "12"),
        (chosen_model, "weights"),
        (pickle_file, Path("pickle")),
        (pictures_folder, Path("people")),
        (picture_file, Path("people/deep/a.JPG")),
        (compared_folder, Path("people")),
        (features_file, Path("zip")),
        (new_file, None),
        (new_file, Path("a/b/c")),
        (new_file, Path("notes.txt")),
        (new_weights_file, None),
        (new_weights_file, Path("a.safetensors")),
        (new_folder, Path("a/b")),
        (new_folder, Path("empty")),
        (any_folder, Path("people")),
    ],
)
def test_what_is_right_is_given_back(check, value: Path | str | None, place: Path) -> None:
    before = sorted(place.rglob("*"))
    assert check(value) == value
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (weights_file, Path("gone"), "no weights at gone; run `dvc repro` or `dvc pull`"),
        (weights_file, Path("notes.txt"), "notes.txt is not a weights file .*: it is a text file"),
        (weights_file, Path("empty"), "no weights at empty"),
        (weights_file, Path("others"), "it is a safetensors file of another program"),
        (weights_file, Path("short"), "short is damaged or cut short .*; make it again, or get"),
        (chosen_model, "gone", "no model gone: give @champion, a version or a file of weights"),
        (chosen_model, "-1", "no model -1"),
        (chosen_model, "notes.txt", "it is a text file"),
        (pickle_file, Path("gone"), "no file at gone"),
        (pickle_file, Path("notes.txt"), "refused, and nothing in it was run: it is a text file"),
        (pictures_folder, Path("gone"), "no folder at gone"),
        (pictures_folder, Path("notes.txt"), "notes.txt is a file, not a folder"),
        (pictures_folder, Path("empty"), "empty holds no picture"),
        (picture_file, Path("gone.jpg"), "no picture at gone.jpg"),
        (picture_file, Path("few/a.jpg"), "few/a.jpg is not a readable image: it is an empty file"),
        (compared_folder, Path("few"), "few holds 1 picture; a distance needs 4"),
        (compared_folder, Path("empty"), "empty holds no picture"),
        (features_file, Path("gone"), "no file at gone; give an .npz file of features"),
        (features_file, Path("empty"), "empty is a folder; give an .npz file of features"),
        (features_file, Path("people"), "folder of pictures; give an .npz .* `lookalike distance`"),
        (features_file, Path("notes.txt"), "holds no features, it is a text file; give an .npz"),
        (new_file, Path("empty"), "cannot write empty: it is a folder"),
        (new_file, Path("notes.txt/a/b"), "notes.txt is a file; choose another place"),
        (new_weights_file, Path("a.pt"), "cannot write a.pt: the name must end in .safetensors"),
        (new_folder, Path("people"), "people holds files already; give --output an empty or a new"),
        (new_folder, Path("notes.txt/a"), "notes.txt is a file; choose another place"),
        (new_folder, Path("notes.txt"), "cannot write to notes.txt: it is a file"),
        (any_folder, Path("notes.txt/a"), "notes.txt is a file; choose another place"),
    ],
)
def test_what_is_wrong_is_named(check, value: Path | str, message: str, place: Path) -> None:
    with pytest.raises(UserError, match=message):
        check(value)


def test_what_is_read_is_not_written_over(place: Path) -> None:
    Path("again").symlink_to("notes.txt")
    for output in (Path("notes.txt"), Path("again"), place / "notes.txt"):
        with pytest.raises(
            UserError, match=r"cannot write .*: it is the file to be read; give --ou"
        ):
            refuse_overwriting(output, Path("gone"), Path("notes.txt"))
    refuse_overwriting(Path("gone"), Path("gone"))
    refuse_overwriting(Path("weights"), Path("notes.txt"), Path("people"))
    (picture, *_) = pictures_in(Path("people"))
    with pytest.raises(UserError, match="it is one of the pictures; give --output another name"):
        refuse_overwriting(Path("people") / picture, Path("people"))
    Path("people/page.html").write_text("of the search before")
    refuse_overwriting(Path("people/page.html"), Path("people"))


def test_the_words_of_options_are_those_of_the_code() -> None:
    assert get_args(Group) == GROUPS
    assert signature(ImagenetFeatures).parameters["name"].default == EFFICIENTNET
    mix = get_command(cli_latents.app).commands["mix"]
    (group,) = (one for one in mix.params if one.name == "group")
    offered = group.shell_complete(Context(mix), "c")
    assert [one.value for one in offered] == ["coarse", "camera"]


def test_model_files_are_known_by_the_key_that_they_have() -> None:
    assert MADE_BY == METADATA_KEY


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_is_closed_is_named(place: Path) -> None:
    Path("empty").chmod(0o500)
    with pytest.raises(UserError, match="you may not write to"):
        new_file(Path("empty/a/b"))


@given(st.lists(st.tuples(st.integers(0, 10**17), st.integers(0, 20)), min_size=1, max_size=8))
def test_seeds_are_read_as_written(ranges: list[tuple[int, int]]) -> None:
    text = ", ".join(f"{a}-{a + n}" if n else str(a) for a, n in ranges)
    assert parse_seeds(text) == [seed for a, n in ranges for seed in range(a, a + n + 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "numbers and ranges such as 0-15,42"),
        ("1,,2", "numbers and ranges"),
        ("3-", "numbers and ranges"),
        ("-3", "numbers and ranges"),
        ("1.5", "numbers and ranges"),
        ("all", "seeds 'all'"),
        ("٣", "numbers and ranges"),
        ("9" * 30, "numbers and ranges"),
        ("4,9-3", "9-3 runs backwards"),
        ("0-999999999", "more than 1,000"),
        ("0-600,1000-1600", "more than 1,000"),
    ],
)
def test_no_seeds(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_seeds(text)


def test_a_word_out_of_a_few() -> None:
    parse = word_of("--features", ["inception", "reid"])
    assert parse("reid") == "reid"
    with pytest.raises(UserError, match=r"^--features: .* incepton; did you mean inception\?"):
        parse("incepton")
