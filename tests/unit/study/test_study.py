"""A study of seconds, from the YAML to the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lookalike.cli import app
from lookalike.config import load_config
from lookalike.errors import UserError
from lookalike.study.plan import load_study
from lookalike.study.run import finished, result_path, train_and_measure
from lookalike.study.trainings import Training, plan_trainings

STUDY = """\
seeds: [1, 2]
more_test_persons: 2
arms:
  persons: {images: [persons], max_persons: [1, 3, 9], weight: 0.5}
  oracle: {images: [persons], max_persons: 3, oracle: true}
"""


def invoke(*options: str) -> Result:
    return CliRunner().invoke(app, ["study", "study.yaml", "--output", "results", *options])


def trainings(text: str) -> list[Training]:
    Path("study.yaml").write_text(text)
    config = load_config(Path("params.yaml"))
    return plan_trainings(load_study(Path("study.yaml"), config), config, Path())


@pytest.mark.usefixtures("repository")
def test_trainings_are_seed_by_seed_and_keyed_by_what_they_depend_on() -> None:
    planned = trainings(STUDY)
    # There are 3 persons, so 9 would be the same training as 3.
    arms = ["baseline", "persons-1", "persons-3", "oracle"]
    assert [t.name for t in planned] == [f"{arm}-seed{seed}" for seed in (1, 2) for arm in arms]
    keys = {training.name: training.key for training in planned}
    assert len(set(keys.values())) == len(keys)
    assert [int(t.generated.sum()) for t in planned[:4]] == [0, 2, 6, 6]

    def changed(old: str, new: str) -> set[str]:
        return {t.name for t in trainings(STUDY.replace(old, new)) if t.key != keys.get(t.name)}

    assert changed("weight: 0.5", "weight: 1") == {n for n in keys if n.startswith("persons")}
    assert changed("more_test_persons: 2", "more_test_persons: 1") == set(keys)
    assert changed("[1, 2]", "[2, 3]") == {f"{arm}-seed3" for arm in arms}
    assert changed("seeds", "reid: {epochs: 2}\nseeds") == set(keys)


@pytest.mark.usefixtures("repository")
def test_an_unfiltered_arm_has_what_was_rejected_too() -> None:
    arm = "images: [persons], max_images_per_person: 2"
    text = f"seeds: [1]\narms: {{with: {{{arm}}}, without: {{{arm}, filtered: false}}}}"
    assert [int(t.generated.sum()) for t in trainings(text)] == [0, 6, 8]


@pytest.mark.usefixtures("repository")
def test_time_goes_with_all_that_is_shown() -> None:
    """Real images, 21 an epoch, and the generated ones beside them while those take part."""
    arms = "a: {images: [persons], batch_share: 0.5}\n  b: {images: [persons]}\n  "
    arms += "c: {images: [persons], batch_share: 0.25, epochs: [1, 3]}"
    planned = trainings(f"seeds: [1]\nreid: {{epochs: 4}}\narms:\n  {arms}\n")
    assert [t.images for t in planned] == [84, 84, 108, 84]
    assert [t.shown for t in planned] == [84, 168, 108, 98]


@pytest.mark.usefixtures("repository")
def test_a_study_goes_on_where_it_was_stopped() -> None:
    text = STUDY.replace("[1, 2]", "[1]")
    first, *_ = trainings(text)
    train_and_measure(first, Path("results"), Path())
    path = result_path(first, Path("results"))
    written = path.read_bytes()

    listed = invoke("--dry-run")
    assert listed.exit_code == 0, listed.output
    assert "3 of 4 trainings left" in listed.output and "done" in listed.output
    assert len(list(Path("results").iterdir())) == 1

    done = invoke("--page", "docs/evidence.md", "--workers", "1")
    assert done.exit_code == 0, done.output
    assert path.read_bytes() == written
    results = finished(trainings(text), Path("results"))
    settings = [("baseline", None), ("persons", 1), ("persons", 3), ("oracle", None)]
    assert [(r.arm, r.amount) for r in results] == settings
    page = Path("docs/evidence.md").read_text()
    for said in (
        "lookalike study study.yaml --output results",
        "| persons-3 | 6 | 3 |",
        "1 seed ",
        "Steps: baseline ",
    ):
        assert said in page
    assert Path("docs/images/evidence_persons.png").is_file()
    assert not Path("docs/images/evidence_images.png").exists()
    assert "evidence_images" not in page

    # Nothing is trained again, and the page is the same; a damaged result is made anew.
    assert invoke("--page", "again/evidence.md").exit_code == 0
    assert Path("again/evidence.md").read_text() == page
    path.write_text("{")
    assert "1 of 4 trainings left" in invoke("--dry-run").output


@pytest.mark.usefixtures("repository")
def test_the_same_training_gives_the_same_result() -> None:
    training = trainings(STUDY)[1]
    results = [train_and_measure(training, Path(folder), Path()) for folder in ("a", "b")]
    first, second = (json.dumps(r.persons | r.validation | r.test) for r in results)
    assert first == second
    assert sum(queries for queries, _, _ in results[0].persons.values()) > 0
    assert results[0].new_persons and results[0].added_persons == 1


@pytest.mark.usefixtures("repository")
def test_what_is_missing_is_one_line() -> None:
    with pytest.raises(UserError, match="no manifest at artifacts/filter/variations/manifest"):
        trainings("arms: {a: {images: [variations]}}")
    with pytest.raises(UserError, match=r"arms.a: label: soft needs .*; run `dvc repro`"):
        trainings("arms: {a: {images: [persons], label: soft}}")
    trainings("arms: {a: {images: [variations], oracle: true}}")
