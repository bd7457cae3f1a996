"""Lineage and forgetting: real DVC, real MLflow, and manifests as the pipeline writes them."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from lookalike.cli import main
from lookalike.config import Config
from lookalike.data.manifest import new_manifest, write_manifest
from lookalike.errors import UserError
from lookalike.profiles import render
from lookalike.programs import run_program
from lookalike.registry.decisions import PROMOTED, Decision, History
from lookalike.registry.evidence import Evidence
from lookalike.registry.promotion import FOLDER, PICTURES, Registry
from lookalike.reid.measurement import PER_QUERY_COLUMNS, Measurement
from lookalike.tracking import open_run, waiting_folder

pytestmark = pytest.mark.pipeline
TRAIN, QUERY = "bounding_box_train", "query"


def row(image: str, person: str, split: str, folder: str, **more: object) -> dict[str, object]:
    values: dict[str, object] = {
        "image_id": image, "person_id": person, "camera_id": 1, "split": split, "origin": "real",
        "member": f"data/{folder}/{image}.jpg", "width": 64, "height": 128,
        "sha256": hashlib.sha256(image.encode()).hexdigest(),
    }  # fmt: skip
    return values | more


REAL = [
    row("0002_a", "0002", "train", TRAIN),
    row("0002_b", "0002", "train", TRAIN),
    row("0007_a", "0007", "train", TRAIN),
    row("0009_q", "0009", "query", QUERY),
]
VARIATION = row(
    "var_1", "0002", "train", "", origin="variation", source_image="0002_a", archive="v.zip",
    member="var_1.jpg", seed=5, recipe="mix:fine:psi=0.7:with=0007_a", generator="abc",
)  # fmt: skip
NEW = row(
    "new_1",
    "syn-1",
    "train",
    "",
    origin="person",
    archive="p.zip",
    member="new_1.jpg",
    seed=6,
    source_image="0007_a",
)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A checkout after a run of the pipeline, with three versions that saw different persons."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(render(Config()))
    (tmp_path / ".gitignore").write_text("/mlruns/\n/artifacts/\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "init", "-q"], check=True)
    for values in REAL:
        path = Path(str(values["member"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(values["image_id"]).encode())
    run_program("dvc", "init", "--quiet")
    run_program("dvc", "add", "--quiet", "data")
    for command in (["add", "."], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", *identity, *command], check=True)
    networks = {
        "validate/manifest": REAL,
        "generate/variations/manifest": [VARIATION],
        "train_gan/trained_on": REAL[:3],
        "train_reid/baseline/trained_on": REAL[2:3],
        "train_reid/persons/trained_on": [REAL[2], NEW],
    }
    for name, rows in networks.items():
        write_manifest(new_manifest(rows), Path(f"artifacts/{name}.parquet"))
    registry = Registry(Config(), tmp_path)
    for persons, picture in ((["0007"], "x"), (["0002", "0007"], "x"), (["0007"], "0009_q")):
        add_version(registry, tuple(persons), picture.encode())
    for version in (1, 2):
        promote(registry, version)
    yield registry


def add_version(registry: Registry, persons: tuple[str, ...] | None, picture: bytes) -> None:
    """Evidence without a packed model, which nothing here asks for."""
    client = registry.store.client
    frame = pd.DataFrame([("q", "0009", 1, 1.0, 1.0)], columns=list(PER_QUERY_COLUMNS))
    measured = Measurement("eval-1", {"mAP": 1.0}, frame)
    proof = Evidence(measured, "md5", "md5", "FINISHED", True, "sha1", (), {}, 1.0)
    proof = Evidence(**{**vars(proof), "persons": persons})
    with open_run("register", registry.config, registry.root) as tracker:
        folder = registry.root / "artifacts" / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        proof.write(folder)
        (folder / PICTURES).mkdir(exist_ok=True)
        (folder / PICTURES / "00.jpg").write_bytes(picture)
        tracker.artifact(folder, FOLDER)
        if not client.search_registered_models():
            client.create_registered_model(registry.name)
        tags = {"lookalike.arm": "persons"}
        client.create_model_version(registry.name, "test:no", run_id=tracker.run_id, tags=tags)


def promote(registry: Registry, version: int) -> None:
    def judge(history: History) -> Decision:
        return registry.decision(PROMOTED, version, history.champion, version)

    registry.decide(judge, lambda decision: decision.version == version)


def said(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[str, str]:
    """What a command prints, and what it says; it must end well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["lookalike", *command])
        with pytest.raises(SystemExit) as ended:
            main()
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    return printed.out, printed.err


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The one line that a command ends with."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["lookalike", *command])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1, told
    return told


def test_from_a_persons_lineage_to_being_without_them(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = said(capsys, "lineage", "0002")
    assert "person 0002: 2 images (train 2)" in out
    assert "in generate@variations: 1 row" in out and "in train_gan: 2 rows" in out
    assert "v2: saw this person in training" in out and "v1:" not in out and "v3:" not in out
    out, _ = said(capsys, "lineage", "var_1")
    assert "seed 5, recipe mix:fine" in out and "source: 0002_a" in out and "sha256 abc" in out
    out, _ = said(capsys, "lineage", "data/bounding_box_train/0007_a.jpg")
    assert "in train_reid@baseline: 1 row" in out
    assert "in generate@variations: 1 row" in out, "it gave the style"
    out, _ = said(capsys, "lineage", "@champion")
    assert "v2 @champion" in out and "saw 2 real persons" in out and "promoted by" in out
    assert "commit sha1" in out

    before = Path("data.dvc").read_text()
    out, _ = said(capsys, "forget", "0002", "--dry-run")
    assert Path("data/bounding_box_train/0002_a.jpg").is_file() and registry.champion() == 2
    wanted = ["delete data/bounding_box_train/0002_a.jpg", "rebuild train_gan: 2 rows"]
    assert all(line in out for line in [*wanted, "retire lookalike-reid v2: saw this person"])
    out, err = said(capsys, "forget", "0002")
    assert all(line in out for line in wanted) and "dvc repro" in err
    left = [path.name for path in sorted(Path("data/bounding_box_train").iterdir())]
    assert left == ["0007_a.jpg"]
    assert Path("data.dvc").read_text() != before
    assert run_program("dvc", "status", "--json", "data.dvc").strip() == "{}"
    history, problems = registry.verify()
    assert problems == [] and history.champion == 1 and history.retired == {2}
    assert history.entries[-1].decision.reason == "forget person 0002"
    with pytest.raises(UserError, match="v2 was retired \\(forget person 0002\\)"):
        registry.promote(2, by_hand=True, force="I want it back")
    said(capsys, "forget", "0002")  # as after a kill: the manifest is still the old one


def test_what_is_retired_is_used_no_more(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "forget", "0002")
    Path("pictures").mkdir()
    Path("pictures/a.jpg").write_bytes(b"never read")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for command in (
        ["embed", "pictures", "--output", "gallery.npz", "--model", "2"],
        ["serve", "--port", port, "--version", "2"],
        ["serve", "--port", port, "--shadow", "2"],
    ):
        told = refused(capsys, *command)
        assert "v2 was retired (forget person 0002)" in told and "registry show" in told


def test_pictures_in_mlflows_runs_are_forgotten_too(
    registry: Registry, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Evidence that is them, byte for byte, and every sheet; no curves, and nobody else."""
    with open_run("evaluate@persons", registry.config, registry.root) as tracker:
        for name in ("ranked_lists.png", "cmc.png", "metrics.json"):
            (tmp_path / name).write_bytes(b"x")
            tracker.artifact(tmp_path / name)
        (tmp_path / "00000048.png").write_bytes(b"x")
        tracker.artifact(tmp_path / "00000048.png", "samples")
    before = pictures_of(registry)
    assert len(before) == 6
    wanted = [
        f"delete candidate/pictures/00.jpg of run register ({run_of(registry, 3)[:8]})",
        f"delete ranked_lists.png of run evaluate@persons ({tracker.run_id[:8]})",
        f"delete samples/00000048.png of run evaluate@persons ({tracker.run_id[:8]})",
    ]
    out, _ = said(capsys, "forget", "0009", "--dry-run")
    assert sorted(line for line in out.splitlines() if " of run " in line) == wanted
    assert pictures_of(registry) == before
    said(capsys, "forget", "0009")
    assert [Path(path).name for path in pictures_of(registry)] == ["00.jpg", "00.jpg", "cmc.png"]
    out, _ = said(capsys, "forget", "0009")
    assert " of run " not in out


def pictures_of(registry: Registry) -> list[str]:
    found = [p for p in (registry.root / "mlruns").rglob("*") if p.suffix in (".png", ".jpg")]
    return sorted((str(path) for path in found), key=lambda path: Path(path).name)


def run_of(registry: Registry, version: int) -> str:
    return str(registry.version(version).run_id)


def test_a_kept_picture_and_an_unknown_past_count(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    add_version(registry, None, b"x")
    out, _ = said(capsys, "forget", "0009", "--dry-run")
    assert "v3: keeps a picture" in out
    assert "v4" not in out, "gates keep test persons out of training"
    out, _ = said(capsys, "forget", "0007", "--dry-run")
    assert "v4: may have seen" in out and "v1: saw" in out
    assert "rebuild train_reid@persons: 2 rows" in out, "their image, and who is dressed in it"


def test_what_waits_for_mlflow_is_not_forgotten(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures that wait would be in MLflow again after they were deleted there."""
    folder = waiting_folder(registry.root) / "run"
    folder.mkdir(parents=True)
    assert "`lookalike ui` or a stage hand them over first" in refused(capsys, "forget", "0007")
    assert Path("data/bounding_box_train/0007_a.jpg").is_file()
    folder.rmdir()
    said(capsys, "forget", "0007", "--dry-run")


@pytest.mark.parametrize(
    "command", ["lineage nobody", "forget 0000", "forget x", "lineage @nobody"]
)
def test_who_is_not_there(
    registry: Registry, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    del registry
    refused(capsys, *command.split())
