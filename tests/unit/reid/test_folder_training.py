"""Training on a folder: the pipeline's model, measured where there is a test set, resumable."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lookalike.config import ArmConfig, Config, EvaluateConfig, ReidConfig
from lookalike.data.layouts.market1501 import MARKET1501
from lookalike.data.layouts.persons import PERSONS
from lookalike.data.loading import Images, encode_jpeg
from lookalike.errors import UserError
from lookalike.reid import folder_training
from lookalike.reid.folder_training import RESUME, train_on_folder
from lookalike.reid.model import load_reid, read_classes
from lookalike.training.session import state_digest

Crops = tuple[Images, list[str]]


@pytest.fixture
def whole(config: ReidConfig) -> Config:
    arms = {"baseline": ArmConfig(images=("none",))}
    return Config(reid=config, evaluate=EvaluateConfig(batch_size=4), arms=arms)


@pytest.fixture
def people(crops: Crops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for index, (image, person) in enumerate(zip(*crops, strict=True)):
        folder = Path("people") / f"p{person}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.jpg").write_bytes(encode_jpeg(image))
    return Path("people")


def test_a_folder_per_person(
    people: Path, whole: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(people / "p0001/0.jpg", people / "p0002/again.jpg")
    (people / "p0002/broken.jpg").write_bytes(b"no picture")
    output = Path("models/mine.safetensors")
    assert train_on_folder(people, output, PERSONS, whole) == {}
    assert read_classes(output) == ["p0001", "p0002", "psyn-000001"]
    said = capsys.readouterr().err
    assert "left out people/p0002/again.jpg: duplicate: same bytes as people/p0001/0.jpg" in said
    assert "left out people/p0002/broken.jpg: unreadable" in said
    assert "8 images of 3 persons" in said
    assert not any(RESUME.iterdir())


def test_a_killed_run_goes_on_and_ends_the_same(
    people: Path, whole: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_on_folder(people, Path("first.safetensors"), PERSONS, whole)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(folder_training, "save_reid", die)
        with pytest.raises(KeyboardInterrupt):
            train_on_folder(people, Path("second.safetensors"), PERSONS, whole)
    capsys.readouterr()
    train_on_folder(people, Path("second.safetensors"), PERSONS, whole)
    assert "resuming at 16 images" in capsys.readouterr().err
    first, second = (load_reid(Path(f"{name}.safetensors")) for name in ("first", "second"))
    assert state_digest(first.state_dict()) == state_digest(second.state_dict())


def test_a_data_set_is_measured(
    crops: Crops, whole: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, persons in (
        ("bounding_box_train", (1, 2)),
        ("query", (3,)),
        ("bounding_box_test", (3,)),
    ):
        (Path("set") / folder).mkdir(parents=True)
        for person in persons:
            for index in range(3):
                name = f"{person:04d}_c{1 + (folder == 'query')}s1_{index:06d}_00.jpg"
                picture = crops[0][(person - 1 + 3 * index) % 8] + persons.index(person)
                picture = picture ^ (folder == "query")
                (Path("set") / folder / name).write_bytes(encode_jpeg(picture))
    scores = train_on_folder(Path("set"), Path("m.safetensors"), MARKET1501, whole)
    assert scores["rank_1"] == scores["mAP"] == 1  # nobody else is there
    assert scores["queries"] == 3
    shutil.rmtree("set/query")
    Path("set/query").mkdir()
    shutil.copy("set/bounding_box_test/0003_c1s1_000000_00.jpg", "set/query/")
    with pytest.raises(UserError, match="no query has its person in the gallery"):
        train_on_folder(Path("set"), Path("m.safetensors"), MARKET1501, whole)


def test_what_cannot_be_trained_on_is_said_at_once(
    people: Path, whole: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_training, "load_images", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"must end in \.safetensors"):
        train_on_folder(people, Path("model.pt"), PERSONS, whole)
    with pytest.raises(UserError, match="no images at PERSON/IMAGE: it holds people/"):
        train_on_folder(people.parent, Path("m.safetensors"), PERSONS, whole)
    with pytest.raises(UserError, match="nowhere"):
        train_on_folder(Path("nowhere"), Path("m.safetensors"), PERSONS, whole)
    for name in ("p0002", "psyn-000001"):
        shutil.rmtree(people / name)
    with pytest.raises(UserError, match="people shows 1 person to train on; training needs two"):
        train_on_folder(people, Path("m.safetensors"), PERSONS, whole)
    monkeypatch.setattr(folder_training, "read_sound", lambda *_: pytest.fail("read"))
    reid = whole.reid.model_copy(update={"weights": "gone.safetensors"})
    with pytest.raises(UserError, match=r"gone\.safetensors"):
        train_on_folder(
            people, Path("m.safetensors"), PERSONS, whole.model_copy(update={"reid": reid})
        )
