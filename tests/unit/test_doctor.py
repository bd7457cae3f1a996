import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lookalike.cli import main
from lookalike.data.population import render_population
from lookalike.doctor import examine
from lookalike.profiles import compose, render
from lookalike.weights import FILES, VARIABLE

PROFILES = sorted((Path(__file__).parents[2] / "profiles").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def rows_of(root, profiles=()):
    return {(row.section, row.subject): row for row in examine(root, profiles)}


def test_the_machine(tmp_path):
    rows = rows_of(tmp_path)
    for subject in ("python", "torch", "opencv"):
        assert rows["machine", subject].state == "ok"
    assert rows["machine", "git"].state == "missing"
    assert rows["machine", "dvc"].state == "missing"
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(
        ["git", *identity, "commit", "-q", "--allow-empty", "-m", "x"], cwd=tmp_path, check=True
    )
    (tmp_path / ".dvc").mkdir()
    rows = rows_of(tmp_path)
    assert rows["machine", "git"].state == "ok"
    assert rows["machine", "dvc"].state == "ok"


def test_a_gpu_wants_a_c_compiler(tmp_path, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert ("machine", "C compiler") not in rows_of(tmp_path)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    card = SimpleNamespace(name="card", total_memory=2**33)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: card)
    compiler = tmp_path / "bin" / "gcc"
    compiler.parent.mkdir()
    monkeypatch.setenv("PATH", str(compiler.parent))
    row = rows_of(tmp_path)["machine", "C compiler"]
    assert row.state == "note"
    assert "fused kernels cannot run; install gcc" in row.detail
    compiler.touch(mode=0o755)
    assert rows_of(tmp_path)["machine", "C compiler"].detail == str(compiler)


def test_each_profile_says_what_is_missing(tmp_path):
    rows = rows_of(tmp_path, PROFILES)
    assert rows["embedded", "parameters"].state == "ok"
    assert rows["embedded", "data"].state == "note"  # rendered by the pipeline
    assert rows["market1501", "data"].state == "missing"
    for name in ("resnet50-imagenet", "inception-2015", "yolov4-tiny-weights"):
        row = rows["market1501", name]
        assert row.state == "missing"
        for part in (FILES[name].address, FILES[name].sha256, str(tmp_path / "weights")):
            assert part in row.detail


def test_the_step_that_a_checkpoint_lacks(tmp_path):
    name = "stylegan3-t-ffhqu-256"
    row = rows_of(tmp_path, PROFILES)["market1501", name]
    assert row.state == "missing"
    assert row.detail.startswith(f"put {FILES[name].imported_from} at ")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / FILES[name].imported_from).touch()
    row = rows_of(tmp_path, PROFILES)["market1501", name]
    assert row.state == "missing"
    assert "run `lookalike weights import" in row.detail
    (tmp_path / "weights" / FILES[name].file_name).touch()
    assert rows_of(tmp_path, PROFILES)["market1501", name].state == "note"  # no published digest


def test_what_is_there_is_ok_and_what_is_damaged_is_not(tmp_path):
    render_population(
        tmp_path / "data", seed=1, train_persons=2, test_persons=2, images_per_person=4,
        distractors=1, junk=1, workers=1, progress=False,
    )  # fmt: skip
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "yolov4-tiny.cfg").write_text("[net]")
    rows = rows_of(tmp_path, PROFILES)
    assert rows["embedded", "data"].state == "ok"
    # The rendered pedestrians have Market-1501's layout, and are not that data set.
    assert rows["market1501", "data"].state == "missing"
    assert "expected 12,936 images of 751 persons" in rows["market1501", "data"].detail
    assert "run `lookalike data import PATH --as market1501`" in rows["market1501", "data"].detail
    path = tmp_path / "mine.yaml"
    path.write_text("data: {source: market1501, as_published: false}\n")
    assert rows_of(tmp_path, [path])["mine", "data"].state == "ok"
    assert rows["market1501", "yolov4-tiny-cfg"].state == "missing"
    assert "damaged" in rows["market1501", "yolov4-tiny-cfg"].detail


def test_every_layout_and_the_other_data_sets_are_looked_for(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("data: {source: csv, others: {sea: msmt17}}\n")
    rows = rows_of(tmp_path, [path])
    assert (
        "lacks images.csv; run `lookalike data import PATH --as csv`" in rows["mine", "data"].detail
    )
    assert "--as msmt17 --name sea" in rows["mine", "data: sea"].detail
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images.csv").touch()
    assert rows_of(tmp_path, [path])["mine", "data"].state == "ok"


def test_what_params_yaml_leaves_out_is_a_note(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("profile: mine\n")
    row = rows_of(tmp_path, [path])["mine", "parameters"]
    assert row.state == "note"
    assert f"{path} has no seed, data, reid," in row.detail


def test_a_broken_profile_is_a_row_and_no_crash(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("reid: {heigth: 3}\n")
    row = rows_of(tmp_path, [path])["mine", "parameters"]
    assert row.state == "missing"
    assert "reid.heigth" in row.detail


def printed(monkeypatch, capsys):
    """The command's exit code, and the lines of its table, each with its cells."""
    monkeypatch.setattr(sys, "argv", ["lookalike", "doctor"])
    with pytest.raises(SystemExit) as caught:
        main()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    cells: list[list[str]] = []
    for line in lines:
        if not line.startswith(" "):
            section = line
        elif line.startswith("    "):
            cells[-1][3] += line
        else:
            state, what, *detail = re.split(r"\s{2,}| (?=\S+$)", line.strip(), maxsplit=2)
            cells.append([section, what, state, *detail] + [""] * (1 - len(detail)))
    return caught.value.code, cells


def test_a_terminal_of_80_columns_shows_everything(tmp_path, monkeypatch, capsys):
    """Nothing is cut short, and the profile in use is not there twice."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copytree(PROFILES[0].parent, "profiles", symlinks=True)
    Path("params.yaml").write_text(render(compose("market1501")))
    code, cells = printed(monkeypatch, capsys)
    assert code == 1  # no data, no weights
    assert "…" not in str(cells)
    parameters = [detail for _, what, _, detail in cells if what == "parameters"]
    assert parameters == ["params.yaml", "profiles/embedded.yaml", "profiles/strong.yaml"]
    details = {(section, what): detail for section, what, _, detail in cells}
    assert details["strong", "resnet50-imagenet"] == "as of market1501", "said once"
    for name in ("resnet50-imagenet", "inception-2015", "yolov4-tiny-weights"):
        for part in (FILES[name].address, FILES[name].sha256, FILES[name].licence):
            assert part.replace(" ", "") in details["market1501", name].replace(" ", "")
        assert FILES[name].address in details["market1501", name]


def test_what_another_profile_lacks_is_no_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("lookalike.doctor._machine", lambda _: [])
    shutil.copytree(PROFILES[0].parent, "profiles", symlinks=True)
    Path("params.yaml").write_text(render(compose("embedded")))
    assert printed(monkeypatch, capsys)[0] == 0
    Path("params.yaml").write_text("seed: none\n")
    code, cells = printed(monkeypatch, capsys)
    assert code == 1
    assert ["params", "parameters", "missing"] in [row[:3] for row in cells]
    monkeypatch.setattr(sys, "argv", ["lookalike", "doctor", "--help"])
    with pytest.raises(SystemExit):
        main()
    said = " ".join(capsys.readouterr().out.split())
    assert "Exits with 1 if this machine or the profile in use lacks anything" in said
