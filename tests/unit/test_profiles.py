"""Profiles: what differs from the defaults, and how one of them becomes params.yaml."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lookalike.cli import main
from lookalike.config import Config, load_config
from lookalike.errors import UserError
from lookalike.profiles import compose, names, render

FOLDER = Path(__file__).parents[2] / "profiles"


def of(name: str) -> Config:
    return compose(name, FOLDER)


@pytest.mark.parametrize("name", names(FOLDER))
def test_every_profile_is_named_after_its_file_and_written_whole(name: str, tmp_path: Path) -> None:
    config = of(name)
    assert config.profile == (FOLDER / f"{name}.yaml").resolve().stem  # study is a link
    path = tmp_path / "params.yaml"
    path.write_text(render(config))
    assert load_config(path) == config
    # DVC sets what is there: `--set-param filter.detector_threshold.value=0.5`.
    values = config.model_dump(mode="json")
    for line in ("    value: ", "    max_persons: ", "    triplet: "):
        assert line in path.read_text()
    assert all(f"\n{section}:" in path.read_text() for section in values)


def test_the_shipped_parameters_are_valid() -> None:
    load_config(FOLDER.parent / "params.yaml")  # whichever profile has been chosen


def test_embedded_is_what_the_defaults_are_but_for_a_small_backbone() -> None:
    embedded = of("embedded")
    assert embedded.model_copy(update={"reid": Config().reid, "arms": Config().arms}) == Config()
    assert embedded.reid.weights == "efficientnet-lite0", "nothing to download"


def test_market1501_is_the_real_thing() -> None:
    config = of("market1501")
    assert config.data.source == "market1501"
    assert (config.gan.height, config.gan.width, config.gan.channel_base) == (256, 128, 16384)
    assert config.gan.distance_features == "inception"
    assert (config.filter.detector, config.filter.detector_threshold.value) == ("yolov4-tiny", 0.6)
    assert config.filter.ssim_threshold.value == 0.75
    assert (config.reid.weights, config.reid.epochs, config.reid.batch_size) == (
        "resnet50-imagenet",
        60,
        16,
    )


def test_study_and_strong_differ_in_the_recipe_only() -> None:
    study, strong = of("study"), of("strong")
    assert (FOLDER / "study.yaml").readlink() == Path("market1501.yaml")
    same = {"profile": strong.profile, "reid": strong.reid, "gates": strong.gates}
    assert study.model_copy(update=same) == strong
    assert (study.reid.loss.triplet, study.reid.images_per_person) == (None, None)

    recipe = strong.reid  # Luo et al. 2019
    assert (recipe.height, recipe.width, recipe.last_stride, recipe.bnneck) == (256, 128, 1, True)
    assert recipe.images_per_person == 4
    persons = recipe.batch_size // recipe.images_per_person
    assert (persons, recipe.micro_batch) == (16, 64)
    assert (recipe.epochs, recipe.schedule.warm_up, recipe.schedule.decay) == (120, 10, (40, 90))
    assert (recipe.optimizer, recipe.learning_rate, recipe.erasing) == ("adam", 3.5e-4, 0.5)
    assert recipe.loss.model_dump() == {
        "label_smoothing": 0.1,
        "triplet": 0.3,
        "centre": 0.0005,
        "circle": 0.0,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("base: nobody\n", "base must be a profile without a base, not nobody"),
        ("base: b\n", "base must be a profile without a base, not b"),
        ("reid: {heigth: 3}\n", "reid.heigth"),
        ("- 1\n", "holds no parameters by name"),
    ],
)
def test_a_wrong_profile_is_named_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(content)
    (tmp_path / "b.yaml").write_text("base: a\n")
    with pytest.raises(UserError, match=message) as caught:
        compose("a", tmp_path)
    assert "\n" not in str(caught.value) and "a.yaml" in str(caught.value)
    with pytest.raises(UserError, match=r"no profile c in .*; must be one of: a, b$"):
        compose("c", tmp_path)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs `lookalike profile ...` in a repository; gives the exit status and what was said."""
    (tmp_path / "profiles").symlink_to(FOLDER)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["lookalike", "profile", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out + said.err

    return run


def git_commit() -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "add", "params.yaml"], check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "--message", "x"], check=True)


def test_a_profile_is_chosen_and_edits_in_no_commit_are_kept(call) -> None:
    path = Path("params.yaml")
    assert call("use", "embedded")[0] == 0
    assert load_config(path) == of("embedded")
    status, said = call("use", "strong", "--dry-run")
    assert status == 0 and "reid.epochs: 40 -> 120" in said and "nothing was written" in said
    assert load_config(path) == of("embedded")

    path.write_text(path.read_text().replace("epochs: 40", "epochs: 9"))
    edited = path.read_bytes()
    status, said = call("use", "strong")
    assert status == 2 and "in no commit: `git commit params.yaml` keeps them" in said
    assert path.read_bytes() == edited
    git_commit()
    status, said = call("use", "strong")  # nothing is lost: the edit has a commit
    assert (status, load_config(path)) == (0, of("strong"))
    assert "git commit -m 'Use profile strong' params.yaml" in said
    assert call("use", "embedded")[0] == 0  # nor here: the profile can be written again

    path.write_text("seed: 7\n")
    assert call("use", "strong")[0] == 2
    assert call("use", "strong", "--force")[0] == 0
    assert load_config(path) == of("strong")


def test_what_is_added_to_a_file_counts_as_a_change(call) -> None:
    """A new field has a default; that it is written, and that an arm is lost, is said."""
    call("use", "embedded")
    path = Path("params.yaml")
    whole = path.read_text()
    path.write_text(re.sub(r"  (diversity_threshold|duplicate_similarity): .*\n", "", whole))
    status, said = call("use", "embedded", "--dry-run")
    assert status == 0 and "2 differences" in said
    assert "filter.duplicate_similarity: absent -> 0.98" in said
    git_commit()
    assert "2 parameters changed" in call("use", "embedded")[1]
    assert path.read_text() == whole
    assert "0 differences" in call("use", "embedded", "--dry-run")[1]

    path.unlink()
    count = sum(line.strip().count(": ") for line in whole.splitlines() if line[:1] != "#")
    said = call("use", "embedded", "--dry-run")[1]
    assert "now: no parameter file at params.yaml" in said and f"{count} differences" in said

    path.write_text(whole.replace("arms:\n", "arms:\n  more:\n    images: [persons]\n"))
    said = call("use", "embedded", "--dry-run")[1]
    assert "arms.more.images: ['persons'] -> absent" in said and "1 difference " in said


def test_profiles_are_listed_and_shown(call) -> None:
    assert call("show", "strong") == (0, render(of("strong")))
    call("use", "market1501")
    listed = call("list")[1]
    assert all(name in listed for name in names(FOLDER))
    lines = listed.splitlines()
    assert len(lines) == len(names(FOLDER)), "a line each"
    assert "…" not in listed
    assert [line.split()[1] for line in lines if line.startswith("*")] == ["market1501", "study"]
    assert "no profile none" in call("show", "none")[1]


def test_edited_parameters_are_said_to_be(call) -> None:
    call("use", "embedded")
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("seed: 1", "seed: 2", 1))
    said = call("list")[1]
    assert (
        "params.yaml is embedded with 1 change; `lookalike profile use embedded --dry-run`" in said
    )


def test_a_broken_profile_leaves_the_others_usable(call) -> None:
    folder = Path("profiles")
    folder.unlink()
    shutil.copytree(FOLDER, folder, symlinks=True)
    (folder / "broken.yaml").write_text("reid: {heigth: 3}\n")
    (folder / "a link.yaml").symlink_to("nowhere.yaml")
    assert call("use", "embedded")[0] == 0
    status, said = call("list")
    assert status == 0
    cells = dict(re.split(r"\s{2,}", line[2:], maxsplit=1) for line in said.splitlines())
    assert cells["broken"].startswith("broken: profiles/broken.yaml: reid.heigth")
    assert cells["a link"].startswith("broken: no profile a link")
    assert "broken" not in cells["strong"]
    assert call("use", "strong")[0] == 0  # though params.yaml is in no commit
    assert load_config(Path("params.yaml")) == of("strong")


def test_no_test_depends_on_the_profile_in_use() -> None:
    """Those that look at params.yaml itself take whatever it holds."""
    may = {"test_profiles.py", "test_rewritten_by_dvc.py"}
    reads = re.compile(r"""(parents\[\d\]|ROOT|REPOSITORY) / "params\.yaml\"""")
    files = sorted((FOLDER.parent / "tests").rglob("*.py"))
    assert [f.name for f in files if f.name not in may and reads.search(f.read_text())] == []
