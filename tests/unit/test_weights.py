import dataclasses
import hashlib
from pathlib import Path

import pytest

from lookalike import weights
from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.profiles import compose

PROFILES = Path(__file__).parents[2] / "profiles"
NAME = "inception-2015"
PICKLED = "stylegan3-t-ffhqu-256"


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv(weights.VARIABLE, raising=False)


@pytest.fixture
def known(monkeypatch):
    """Pretend that the published file is these eight bytes."""
    digest = hashlib.sha256(b"genuine!").hexdigest()
    file = dataclasses.replace(weights.FILES[NAME], sha256=digest)
    monkeypatch.setitem(weights.FILES, NAME, file)
    return file


def test_a_missing_file_is_named_with_all_that_is_needed(tmp_path):
    with pytest.raises(UserError) as caught:
        weights.find(NAME, tmp_path)
    file = weights.FILES[NAME]
    for part in (NAME, str(file.place(tmp_path)), file.address, file.sha256, file.licence):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_digest_is_refused(tmp_path, known):
    place = known.place(tmp_path)
    place.parent.mkdir()
    place.write_bytes(b"tampered")
    with pytest.raises(UserError, match=f"damaged or another file.*{known.sha256}"):
        weights.find(NAME, tmp_path)
    place.write_bytes(b"genuine!")
    assert weights.find(NAME, tmp_path) == place


def test_the_variable_names_another_home(tmp_path, known, monkeypatch):
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / known.file_name).write_bytes(b"genuine!")
    assert weights.find(NAME, tmp_path) == tmp_path / "elsewhere" / known.file_name


def test_a_variable_that_names_no_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(UserError, match=r"LOOKALIKE_WEIGHTS is .*elsewhere, where no folder is"):
        weights.home(tmp_path)


def test_a_file_without_a_published_digest_counts_as_unverified(tmp_path):
    place = weights.FILES[PICKLED].place(tmp_path)
    place.parent.mkdir()
    place.write_bytes(b"whatever")
    [entry] = weights.status([PICKLED], tmp_path)
    assert entry.state == "unverified"
    assert hashlib.sha256(b"whatever").hexdigest() in entry.advice
    assert weights.find(PICKLED, tmp_path) == place


def test_a_pickle_must_be_imported_first(tmp_path):
    file = weights.FILES[PICKLED]
    place = file.place(tmp_path)
    published = place.with_name(file.imported_from)
    [entry] = weights.status([PICKLED], tmp_path)
    assert entry.state == "missing"
    for part in (f"put {published.name} at {published}", file.address, file.licence, "NOT comm"):
        assert part in entry.advice
    published.parent.mkdir()
    published.write_bytes(b"pickle")
    [entry] = weights.status([PICKLED], tmp_path)
    assert entry.state == "not imported"
    assert not entry.usable
    assert entry.advice == f"{published} is there: run `lookalike weights import {published}`"
    place.write_bytes(b"tensors")
    assert weights.find(PICKLED, tmp_path) == place


def test_files_of_ones_own_go_by_name_or_path(tmp_path):
    name = "mine.safetensors"
    with pytest.raises(UserError, match=rf"put .*weights/{name} there, or .* weights import"):
        weights.find(name, tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / name).write_bytes(b"tensors")
    assert weights.find(name, tmp_path) == tmp_path / "weights" / name
    assert weights.find(str(tmp_path / "weights" / name), Path("elsewhere")).is_file()


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"resnet51.*resnet50-imagenet"):
        weights.find("resnet51", tmp_path)


def test_the_registry_is_consistent():
    for name, file in weights.FILES.items():
        assert file.name == name
        assert file.licence
        assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16))
        # torchvision and pytorch-fid put the digest's first digits into the file's name.
        if file.file_name.endswith(".pth"):
            assert Path(file.file_name).stem.rsplit("-", 1)[1] == file.sha256[:8]


def test_what_a_profile_needs(tmp_path):
    embedded = Config()
    assert weights.required_for(embedded) == ["starting-generator", "starting-encoder"]
    market = weights.required_for(compose("market1501", PROFILES))
    assert market == [
        "resnet50-imagenet",
        "stylegan3-t-ffhqu-256",
        "inception-2015",
        "alexnet-imagenet",
        "yolov4-tiny-cfg",
        "yolov4-tiny-weights",
    ]
    assert all(entry.state == "missing" for entry in weights.status(market, tmp_path))
