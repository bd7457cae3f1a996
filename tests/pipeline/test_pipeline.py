"""The whole pipeline under DVC and MLflow, on few and small images, in a folder with a blank."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from small_pipeline import Repository, make_repository

from lookalike.config import load_config
from lookalike.data.manifest import read_manifest, write_manifest
from lookalike.data.manifest import test_protocol as protocol_of_test
from lookalike.files import md5_file
from lookalike.store import tracking_uri
from lookalike.tracking import flatten

MANIFEST = "artifacts/validate/manifest.parquet"

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Rendered, reproduced once."""
    repo = make_repository(tmp_path_factory.mktemp("a clone") / "look alike")
    repo.run("dvc", "repro")
    return repo


def test_a_champion_comes_out_and_every_gate_passes(repository: Repository) -> None:
    verdict = repository.json("artifacts/register/verdict.json")
    assert verdict["promoted"] and verdict["champion"] == verdict["version"] == 1
    assert all(gate["passed"] for gate in verdict["gates"])
    assert repository.json("artifacts/evaluate/baseline/metrics.json")["problem"] == ""
    shown = repository.run("lookalike", "registry", "show")
    assert "champion" in shown
    assert "30 of 30" in repository.run("lookalike", "summary")
    assert "unchanged; champion: 1" in repository.run("lookalike", "promote", "1", "--dry-run")
    assert "nobody is left to roll" in repository.run("lookalike", "rollback", status=2)


def test_metrics_for_people_fit_on_a_screen(repository: Repository) -> None:
    """Settings, cameras and steps of the filter are data for machines."""
    table = repository.run("dvc", "metrics", "show").splitlines()
    assert max(map(len, table)) <= 120
    assert len(table) == 1 + 3 + 2 + 1  # heading, arms, kinds, generator


def test_the_whole_chain_is_drawn(repository: Repository) -> None:
    page = repository.folder / ".lookalike" / "method.md"
    page.write_text("text before\n<!-- arms -->\nold\n<!-- end of arms -->\ntext behind\n")
    repository.run("lookalike", "method", "--page", ".lookalike/method.md")
    text = page.read_text()
    assert text.startswith("text before") and text.endswith("text behind\n") and "old" not in text
    assert all(f"| {arm} |" in text for arm in ("baseline", "persons", "variations"))
    drawn = {path.name for path in (page.parent / "images" / "method").iterdir()}
    kinds = {"filtered_persons.jpg", "filtered_variations.jpg"}
    assert drawn == {"persons.jpg", "variations.jpg", *kinds}


def test_no_stage_runs_twice(repository: Repository) -> None:
    assert "Running stage" not in repository.run("dvc", "repro")


def test_generated_images_can_be_traced(repository: Repository) -> None:
    rows = read_manifest(repository.folder / "artifacts/filter/persons/manifest.parquet")
    generator = repository.sha256("artifacts/train_gan/generator.safetensors")
    assert (rows["generator"] == generator).all()
    assert (rows["recipe"] != "").all() and (rows["seed"] >= 0).all()
    seen = read_manifest(repository.folder / "artifacts/train_gan/trained_on.parquet")
    assert (seen["split"] == "train").all()


def test_one_parent_run_with_a_child_per_stage(repository: Repository) -> None:
    runs = {
        path.parent.relative_to(repository.folder / "artifacts").as_posix(): json.loads(
            path.read_text()
        )
        for path in sorted(repository.folder.glob("artifacts/**/run.json"))
    }
    stages = repository.run("dvc", "stage", "list", "--name-only").split()
    assert stages[:2] == ["code", "weights"]  # they record nothing but what others depend on
    stages = stages[2:]
    assert set(runs) == {stage.replace("@", "/") for stage in stages}
    assert len({run["parent_run_id"] for run in runs.values()}) == 1
    assert len({run["run_id"] for run in runs.values()}) == len(stages)


# What a stage's run holds: the section of its parameters, its data set and what for, the metrics
# with several points, the files.
PICTURES = ("activation.png", "embedding_map.png", "ranked_lists.png", "similarities.png")
RECORDS: dict[str, tuple[str, str, str, tuple[str, ...], tuple[str, ...]]] = {
    "prepare": ("data", "prepare", "source", (), ()),
    "validate": ("data", "prepare", "validation", (), ("verdict.json", "data_docs/index.html")),
    "train_gan": (
        "gan",
        "validate",
        "training",
        ("frechet_reid", "kernel_reid", "precision", "recall"),
        ("transfer.json", *(f"samples/{images:08d}.png" for images in (0, 24, 48))),
    ),
    "train_encoder": (
        "encoder",
        "validate",
        "training",
        ("loss", "l2", "efficientnet_lite0", "identity", "latent_norm"),
        ("reconstructions.png",),
    ),
    "register": (
        "gates",
        "validate",
        "query",
        (),
        ("verdict.json", "cmc.png", "side_by_side.png", "candidate/evidence.json"),
    ),
}
for arm in ("baseline", "persons", "variations"):
    curves = ("loss", "accuracy", "learning_rate", "validation_mAP", "validation_rank_1")
    RECORDS[f"train_reid@{arm}"] = "reid", "validate", "training", curves, ("history.csv",)
    files = (*PICTURES, "metrics.json", "cmc.csv")
    RECORDS[f"evaluate@{arm}"] = "evaluate", "validate", "query", (), files
for kind in ("persons", "variations"):
    section, files = f"generate.{kind}", ("sheet.png",)
    RECORDS[f"generate@{kind}"] = section, f"generate/{kind}", "generated", (), files
    files = ("sheet.png", "summary.json", "rejection.csv")
    RECORDS[f"filter@{kind}"] = "filter", f"filter/{kind}", "filtered", (), files


def kept_files(client: mlflow.MlflowClient, run_id: str, folder: str = "") -> Iterator[str]:
    """The paths of all files of a run."""
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from kept_files(client, run_id, item.path)
        else:
            yield item.path


def test_mlflow_holds_every_stage(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Parameters, data sets, curves, pictures and tags, read as MLflow's UI would."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = mlflow.MlflowClient(tracking_uri(repository.folder))
    experiment = client.get_experiment_by_name("lookalike")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = (run for run in runs if run.data.tags["lookalike.kind"] == "pipeline")
    stages = {run.info.run_name: run for run in runs if run is not parent}
    assert set(stages) == set(RECORDS) and len(runs) == 1 + len(stages)

    config = load_config(repository.folder / "params.yaml")
    values = {name: str(value) for name, value in flatten(config.model_dump()).items()}
    assert parent.data.params == values
    commit = repository.run("git", "rev-parse", "HEAD").strip()
    assert parent.info.run_name == f"embedded {commit[:7]}"
    arms, kinds = ("baseline", "persons", "variations"), ("persons", "variations")
    assert set(parent.data.metrics) == {
        "frechet_reid",
        *(f"{name}/{arm}" for name in ("rank_1", "mAP", "validation_mAP") for arm in arms),
        *(f"pass_rate/{kind}" for kind in kinds),
    }
    measured = repository.json("artifacts/evaluate/persons/metrics.json")
    assert parent.data.metrics["mAP/persons"] == measured["mAP"]
    asked = tmp_path / "query.parquet"
    write_manifest(protocol_of_test(read_manifest(repository.folder / MANIFEST))[0], asked)
    for stage, (section, dataset, context, curves, files) in RECORDS.items():
        run = stages[stage]
        written = repository.folder / "artifacts" / stage.replace("@", "/")
        assert json.loads((written / "run.json").read_text())["run_id"] == run.info.run_id, stage
        tags, params = run.data.tags, run.data.params
        assert tags["mlflow.parentRunId"] == parent.info.run_id, stage
        assert tags["lookalike.kind"] == "stage" and tags["lookalike.stage"] == stage
        assert (tags["lookalike.git_sha"], tags["lookalike.dirty"]) == (commit, "false"), stage
        assert tags["lookalike.profile"] == "embedded" and "lookalike.resumed_from" not in tags
        assert any(name.startswith("lookalike.input.") for name in tags), stage

        expected = {name: v for name, v in values.items() if name.startswith(f"{section}.")}
        assert expected and expected.items() <= params.items(), stage
        (given,) = run.inputs.dataset_inputs
        manifest = repository.folder / "artifacts" / dataset / "manifest.parquet"
        rows = {"training": written / "trained_on.parquet", "query": asked}.get(context, manifest)
        assert given.dataset.digest == md5_file(rows), stage
        # An arm's rows are no other arm's.
        of_arm = stage.startswith("train_reid@")
        assert given.dataset.name == (written if of_arm else manifest.parent).name, stage
        assert [tag.value for tag in given.tags] == [context], stage

        assert run.data.metrics["seconds"] > 0 and run.data.metrics["peak_memory_mb"] > 0
        for name in curves:
            steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
            assert len(steps) > 1 and steps == sorted(set(steps)), (stage, name)
        assert set(files) <= set(kept_files(client, run.info.run_id)), stage

    # What is no LPIPS is not called so, neither by tag nor by name.
    encoder = stages["train_encoder"]
    assert encoder.data.tags["lookalike.perceptual_backbone"] == "efficientnet-lite0"
    assert "lpips" not in encoder.data.metrics
    for of in ("unseen", "unseen_fitted"):
        assert 0 <= encoder.data.metrics[f"{of}_cross_rank1"] <= 1
    assert stages["register"].data.params["winner"] in config.arms


@pytest.mark.parametrize(
    ("stage", "weights", "others"),
    [
        ("train_gan", "artifacts/train_gan/generator.safetensors", "artifacts/train_gan/samples"),
        (
            "train_reid@baseline",
            "artifacts/train_reid/baseline/model.safetensors",
            "artifacts/train_reid/baseline",
        ),
    ],
)
def test_a_killed_stage_ends_with_the_weights_of_an_uninterrupted_one(
    repository: Repository, stage: str, weights: str, others: str
) -> None:
    uninterrupted = repository.sha256(weights)
    written = repository.files(others)
    process = repository.start("dvc", "repro", "--force", "--single-item", "--no-run-cache", stage)
    states = repository.folder / ".lookalike" / "resume"
    deadline = time.monotonic() + 300
    while not list(states.glob(f"{stage.replace('@', '-')}-*/state.pt")):
        assert process.poll() is None, "the stage ended before its first checkpoint was seen"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (repository.folder / weights).exists(), "killed too late to show anything"

    output = repository.run("dvc", "repro", "--force", "--single-item", "--no-run-cache", stage)
    assert "resuming at" in output
    assert repository.sha256(weights) == uninterrupted
    assert repository.files(others) == written


def test_a_clone_gets_a_champion_from_what_dvc_lock_proves(
    repository: Repository, tmp_path: Path
) -> None:
    """A second person: git clone, dvc pull. The run database stays with the first."""
    repository.run("dvc", "repro")  # other tests have trained by themselves
    repository.run("git", "add", "dvc.lock")
    repository.run("git", "commit", "--quiet", "--message", "results")
    clone = Repository(tmp_path / "Zoë's clone")
    repository.run("git", "clone", "--quiet", ".", str(clone.folder))
    picture = next((repository.folder / "data" / "query").glob("*.jpg"))
    embed = ("lookalike", "embed", str(picture.parent), "--output", str(tmp_path / "gallery.npz"))
    assert "`dvc pull` and then `lookalike registry restore`" in clone.run(*embed, status=2)
    assert "run `dvc pull`" in clone.run("lookalike", "registry", "restore", status=2)

    remote = str(tmp_path / "a remote")
    for repo in (repository, clone):
        repo.run("dvc", "remote", "add", "--local", "--default", "storage", remote)
    repository.run("dvc", "push", "--quiet")
    clone.run("dvc", "pull", "--quiet")
    assert "Running stage" not in clone.run("dvc", "repro")
    assert "`lookalike registry restore` registers" in clone.run("lookalike", "registry", "show")
    said = clone.run("lookalike", "registry", "restore")
    assert "lookalike-reid v1" in said and "promoted" in said
    assert "embedded with lookalike-reid v1" in clone.run(*embed)
    assert clone.run("git", "status", "--porcelain") == ""
    assert "Running stage" not in clone.run("dvc", "repro")


def test_experiments_have_their_own_run_here_and_promote_nothing(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a temporary folder, after DVC has written params.yaml anew."""
    if repository.run("git", "status", "--porcelain"):
        repository.commit()
    parameters = (repository.folder / "params.yaml").read_bytes()
    changed = ("--set-param", "gates.max_frechet=11", "--set-param", "evaluate.ranks=[5,20]")
    said = repository.run("dvc", "exp", "run", "--temp", "--name", "mine", *changed, "register")
    # Its parameters are in no commit, and nothing else speaks against it.
    assert "(baseline): failed: integrity.code\n" in said
    assert "register: to promote it: `dvc exp apply mine`, `git commit --all`, then `dvc" in said
    assert (repository.folder / "params.yaml").read_bytes() == parameters
    assert not list((repository.folder / ".dvc" / "tmp" / "exps").rglob("mlflow.db"))

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = mlflow.MlflowClient(tracking_uri(repository.folder))
    experiment = client.get_experiment_by_name("lookalike")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if run.info.run_name == "mine")
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {"register", "evaluate@baseline"} <= {run.info.run_name for run in children}
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    champion = client.get_model_version_by_alias("lookalike-reid", "champion")
    assert int(champion.version) == 1

    repository.run("dvc", "exp", "apply", "mine")
    assert load_config(repository.folder / "params.yaml").gates.max_frechet == 11
    assert repository.json("artifacts/register/verdict.json")["promoted"] is False
    assert "rank_1" in repository.json("artifacts/evaluate/baseline/metrics.json")
    repository.run("git", "checkout", "--quiet", ".")
    repository.run("dvc", "checkout", "--quiet")


@pytest.mark.timeout(1800)  # the pipeline twice
def test_a_forgotten_person_is_in_nothing_that_is_rebuilt(repository: Repository) -> None:
    """The last test here: afterwards another version is champion."""
    folder = repository.folder
    if repository.run("git", "status", "--porcelain"):
        repository.commit()
    rows = read_manifest(folder / MANIFEST)
    person = rows.loc[rows["split"] == "train", "person_id"].iloc[0]
    theirs = rows[rows["person_id"] == person]
    bytes_of = {md5_file(folder / member) for member in theirs["member"]}
    champion = repository.json("artifacts/register/verdict.json")["champion"]
    said = repository.run("lookalike", "forget", person)
    assert f"retire lookalike-reid v{champion}: saw this person in training" in said
    assert "lookalike-reid has" not in said and "rebuild train_gan: " in said
    repository.commit()
    runs = folder / "mlruns"
    # Curves, and test images that the gates send to a version.
    shown = {
        path.name
        for path in pictures_in(runs)
        if path.parent.name != "pictures" and "data_docs" not in path.parts
    }
    assert shown == {"cmc.png", "similarities.png"}

    repository.run("dvc", "repro")
    verdict = repository.json("artifacts/register/verdict.json")
    assert verdict["promoted"] and verdict["champion"] == verdict["version"] > champion
    tables = [
        *folder.glob("artifacts/**/manifest.parquet"),
        *folder.glob("artifacts/**/trained_on.parquet"),
    ]
    assert len(tables) > 8
    for path in tables:
        table = read_manifest(path)
        assert not table["source_image"].isin(theirs["image_id"]).any(), path
        assert not (table["person_id"] == person).any(), path
    assert f"no image {person} in the manifests" in repository.run(
        "lookalike", "lineage", person, status=2
    )
    repository.run("dvc", "gc", "--workspace", "--force", "--quiet")
    cached = {
        path.parent.name + path.name for path in (folder / ".dvc/cache").glob("files/md5/*/*")
    }
    assert cached and not cached & bytes_of
    left = [path for path in folder.rglob("*.jpg") if md5_file(path) in bytes_of]
    assert left == []
    assert "was retired" in repository.run(
        "lookalike", "embed", "data/query", "--output", "x.npz", "--model", str(champion), status=2
    )
    assert "Running stage" not in repository.run("dvc", "repro")
    assert "nothing was changed or taken out" in repository.run("lookalike", "registry", "verify")


def pictures_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
