"""A team and its servers: PostgreSQL, MLflow with accounts, an S3 store, an sshd, all of them real.

Skipped where these are not installed, with what is lacking. To run it on Debian:

    apt-get install postgresql openssh-server
    make install-team
    .venv/bin/python -m pytest -rs tests/pipeline/test_team.py

It runs the tests' small pipeline. With a profile, that one at its own size; what `make repro` has
trained here comes from DVC's cache, and is measured, registered and judged anew:

    TEAM_PROFILE=embedded .venv/bin/python -m pytest -n0 -s tests/pipeline/test_team.py
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus

import psutil
import pytest
import yaml
from small_pipeline import ROOT, Repository, make_repository, small_parameters
from team_servers import (
    BUCKET,
    Team,
    free_port,
    lacking,
    lacking_ssh,
    patiently,
    ssh_server,
    team_servers,
)

from lookalike.config import load_config
from lookalike.profiles import compose
from lookalike.registry.decisions import UNCHANGED
from lookalike.registry.ledger import Ledger

PROFILE = os.environ.get("TEAM_PROFILE")
pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.timeout(3 * 3600 if PROFILE else 3600),
    pytest.mark.skipif(bool(lacking()), reason=f"not installed: {lacking()}"),
]


class Clone(Repository):
    """A person's clone, and what its commands said."""

    def __init__(self, folder: Path, team: Team, person: str, home: Path):
        super().__init__(folder)
        self.environment |= {**team.environment(person), "HOME": str(home)}
        self.person, self.said = person, list[str]()

    def run(self, *command: str, status: int = 0) -> str:
        began = time.monotonic()
        output = super().run(*command, status=status)
        self.said.append(output)
        told = (output.splitlines() or [""])[-1]
        print(f"{self.person}, {time.monotonic() - began:.1f} s: {' '.join(command)}: {told}")
        return output


@contextmanager
def overheard() -> Iterator[set[str]]:
    """Command lines of all processes meanwhile, which every user of a machine can read."""
    heard, over = set[str](), threading.Event()

    def listen() -> None:
        while not over.wait(0.3):
            for process in psutil.process_iter():
                try:
                    heard.add(" ".join(process.cmdline()))
                except psutil.Error:
                    continue

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield heard
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def commands() -> Iterator[set[str]]:
    with overheard() as heard:
        yield heard


@pytest.fixture(scope="module")
def team(commands: set[str]) -> Iterator[Team]:
    with team_servers("ann", "ben") as team:
        yield team


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where clones lie, beside the home of both persons and the repository they share."""
    place = tmp_path_factory.mktemp("team")
    (place / "home").mkdir()
    return place


@pytest.fixture(scope="module")
def ann(team: Team, place: Path) -> Clone:
    """Trains, and pushes what came of it."""
    folder = place / "ann"
    if PROFILE:
        parameters = compose(PROFILE, ROOT / "profiles").model_dump(mode="json")
        parameters["evaluate"]["ranks"] = [1, 10]  # `make repro` has not measured these
    else:
        parameters = small_parameters()
        parameters["arms"] = {"baseline": parameters["arms"]["baseline"]}
    make_repository(folder, parameters)
    if PROFILE and (made := ROOT / ".dvc" / "cache").is_dir():
        shutil.copytree(made, folder / ".dvc" / "cache", dirs_exist_ok=True)
    ann = Clone(folder, team, "ann", place / "home")
    ann.run("dvc", "remote", "add", "--default", "team", f"s3://{BUCKET}/dvc")
    ann.run("dvc", "remote", "modify", "team", "endpointurl", team.s3)
    ann.run("dvc", "remote", "modify", "team", "verify", "true")
    ann.commit()
    ann.run("dvc", "repro")
    ann.commit()
    ann.run("git", "init", "--quiet", "--bare", str(place / "origin.git"))
    ann.run("git", "remote", "add", "origin", str(place / "origin.git"))
    ann.run("git", "push", "--quiet", "--set-upstream", "origin", "HEAD:main")
    ann.run("dvc", "push")
    return ann


@pytest.fixture(scope="module")
def ben(team: Team, place: Path, ann: Clone) -> Clone:
    """Clones and pulls."""
    ann.run("git", "clone", "--quiet", "--branch", "main", f"{place}/origin.git", f"{place}/ben")
    ben = Clone(place / "ben", team, "ben", place / "home")
    ben.run("dvc", "pull")
    return ben


def test_one_trains_and_the_other_serves_and_promotes(team: Team, ann: Clone, ben: Clone) -> None:
    assert ann.json("artifacts/register/verdict.json")["champion"] == 1
    assert "Running stage" not in ben.run("dvc", "repro")
    assert "1 champion" in ben.run("lookalike", "registry", "show")
    assert len(served(ben)) > 8

    parameters = yaml.safe_load((ben.folder / "params.yaml").read_text())
    parameters["evaluate"]["ranks"] = [1, 5, 20]
    (ben.folder / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
    ben.commit()
    assert "promoted" in ben.run("dvc", "repro")
    assert ben.json("artifacts/register/verdict.json")["champion"] == 2

    assert "2 champion" in ann.run("lookalike", "registry", "show")
    ann.run("lookalike", "rollback", "--reason", "ann knows better")
    shown = ben.run("lookalike", "registry", "verify")
    assert "ann@" in shown and "ben@" in shown and "3 decisions" in shown


def served(repo: Repository) -> list[float]:
    """The embedding of a picture, over HTTP."""
    port = free_port()
    server = repo.start("lookalike", "serve", "--port", str(port))
    address = f"http://127.0.0.1:{port}"
    try:
        patiently(lambda: urllib.request.urlopen(f"{address}/ping", timeout=5).close())
        picture = next((repo.folder / "data" / "query").glob("*.jpg")).read_bytes()
        body = {"instances": [{"image": base64.b64encode(picture).decode()}]}
        request = urllib.request.Request(
            f"{address}/invocations",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            (embedding,) = json.load(answer)["predictions"]
        return list(embedding)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate()


def test_files_go_through_the_server_alone(team: Team, ben: Clone) -> None:
    """It offers addresses of the store, which it reaches and people's machines need not."""
    assert "/artifacts/" in (log := (team.logs / "mlflow.log").read_text())
    assert "/presigned/" not in log and "/mpu/" not in log


def test_without_a_password_the_server_says_what_to_set(team: Team, ben: Clone) -> None:
    nobody = Repository(ben.folder)
    nobody.environment |= {"MLFLOW_TRACKING_URI": team.mlflow}
    refused = nobody.run("lookalike", "registry", "show", status=2).strip().splitlines()
    assert len(refused) == 1 and "MLFLOW_TRACKING_PASSWORD" in refused[0]


def test_a_version_that_is_not_there_is_one_line(ben: Clone) -> None:
    refused = ben.run("lookalike", "promote", "99", status=2).strip().splitlines()
    assert len(refused) == 1 and "has no version 99" in refused[0]


@pytest.mark.skipif(bool(lacking_ssh()), reason=f"not installed: {lacking_ssh()}")
def test_a_remote_over_ssh_is_pushed_to_and_pulled_from(
    team: Team, place: Path, ann: Clone
) -> None:
    """And what somebody has put in the place of a file is not taken for it."""
    model = "artifacts/train_reid/baseline/model.safetensors"
    (shared := place / "shared").mkdir()
    with ssh_server(place / "home", shared) as address:
        ann.run("dvc", "remote", "add", "ssh", f"{address}/dvc")
        ann.run("dvc", "push", "--quiet", "--remote", "ssh")
        commit = ann.run("git", "rev-parse", "origin/main").strip()
        cyd = Clone(place / "cyd", team, "ben", place / "home")
        ann.run("git", "clone", "--quiet", f"{place}/origin.git", str(cyd.folder))
        cyd.run("git", "checkout", "--quiet", commit)
        cyd.run("dvc", "remote", "add", "ssh", f"{address}/dvc")
        cyd.run("dvc", "remote", "modify", "ssh", "verify", "true")

        honest = (ann.folder / model).read_bytes()
        (stored,) = (path for path in (shared / "dvc").rglob("*") if same(path, honest))
        stored.chmod(0o600)
        stored.write_bytes(bytes(len(honest)))
        assert "failed to pull" in cyd.run("dvc", "pull", "--remote", "ssh", model, status=1)
        assert not (cyd.folder / model).exists()
        stored.write_bytes(honest)
        cyd.run("dvc", "pull", "--quiet", "--remote", "ssh")
    assert cyd.sha256(model) == ann.sha256(model)
    assert any((shared / "dvc").rglob("*.dir"))


def same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def test_twenty_decisions_from_two_clones_at_once_lose_none(
    ann: Clone, ben: Clone, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in team.environment("ann").items():
        monkeypatch.setenv(name, value)
    ledger = Ledger(load_config(ann.folder / "params.yaml"), ann.folder)
    before = len(ledger.history().entries)
    script = str(ROOT / "tests" / "decisions_at_once.py")
    told: list[str] = []
    for process in [clone.start(sys.executable, script) for clone in (ann, ben)]:
        output, _ = process.communicate()
        assert process.returncode == 0, output
        told += json.loads(output.splitlines()[-1])
    assert len(told) == 20
    errors = [line for line in told if not line.split()[-1].isdecimal()]
    assert all("no champion" in line or "nobody is left" in line for line in errors), errors

    found, problems = ledger.verify()
    made = [entry.decision for entry in found.entries[before:]]
    on_record = Counter(f"{decision.action} {decision.version}" for decision in made)
    answers = Counter(line for line in told if line not in errors and UNCHANGED not in line)
    # Who asks for what another process has just decided and not finished finishes that one.
    assert set(on_record) == set(answers) and on_record <= answers
    assert len(made) > 2 and {decision.by.partition("@")[0] for decision in made} == {"ann", "ben"}
    chain = [(d.champion_before, d.champion_after) for d in (e.decision for e in found.entries)]
    assert [before for before, _ in chain] == [None, *(after for _, after in chain[:-1])]
    assert problems == [] and found.applied
    champions = [info.version for info in ledger.show() if "champion" in info.aliases]
    assert champions == [found.champion]


def test_no_password_is_written_anywhere(
    team: Team, place: Path, commands: set[str], ann: Clone, ben: Clone
) -> None:
    """Last: what everything above has written, said and started."""
    for path in (*place.rglob("*"), *team.logs.iterdir()):
        if path.is_file():
            assert not spoken(team, path.read_bytes()), path
    kinds = set()
    for name, content in team.stored():
        kinds.add(name.partition("/")[0])
        assert not spoken(team, content), name
    assert kinds == {"dvc", "mlflow"}
    assert b"lookalike.record" in (database := team.dump())
    assert not spoken(team, database)
    assert any("pipelines.register" in line for line in commands)
    assert not [line for line in commands if spoken(team, line.encode())]
    for clone in (ann, ben):
        assert clone.said and not [said for said in clone.said if spoken(team, said.encode())]


def spoken(team: Team, text: bytes) -> bool:
    """Whether a text has a password in it, as it is or as addresses and JSON have it."""
    ways = (str, quote, quote_plus, lambda word: quote(word, safe=""))
    return any(way(word).encode() in text for word in team.passwords for way in ways)
