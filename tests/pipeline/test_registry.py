"""Register, promote, race, roll back, serve: real MLflow in a folder with a blank in its name."""

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import yaml
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from PIL import Image

from lookalike import tracking
from lookalike.cli import main
from lookalike.config import Config, load_config
from lookalike.data.decoding import decode
from lookalike.errors import UserError
from lookalike.failures import last_words
from lookalike.files import md5_file, sha256_file
from lookalike.names import CHAMPION
from lookalike.profiles import render
from lookalike.provenance import git_sha
from lookalike.registry.chosen import choose_model
from lookalike.registry.drift import LEAST, Reference
from lookalike.registry.evidence import Evidence
from lookalike.registry.ledger import APPLIED
from lookalike.registry.promotion import Registry
from lookalike.registry.serving import load_serving_model
from lookalike.registry.verdict import failures
from lookalike.reid.embedder import Embedder
from lookalike.reid.measurement import Measurement
from lookalike.reid.model import new_reid, save_reid
from lookalike.tracking import open_run

pytestmark = pytest.mark.pipeline
REPOSITORY = Path(__file__).parents[2]


def make_checkout(root: Path) -> Config:
    """A repository with parameters and weights; latency is not judged on a busy test machine."""
    root.mkdir(parents=True)
    (root / "params.yaml").write_text(render(Config()))
    (root / ".gitignore").write_text("/mlruns/\n/artifacts/\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", *identity, *command], cwd=root, check=True)
    config = load_config(root / "params.yaml")
    torch.manual_seed(0)
    save_reid(weights(root), new_reid(config.reid, 2), config.reid, ["0001", "0002"])
    gates = config.gates.model_copy(update={"max_latency_ms": 60_000.0})
    return config.model_copy(update={"gates": gates})


def weights(root: Path) -> Path:
    return root / "artifacts" / "model.safetensors"


def jpeg(seed: int = 0) -> bytes:
    """A real JPEG, larger than the network's input."""
    pixels = np.random.default_rng(seed).integers(0, 255, (128, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def evaluation(quality: float, fingerprint: str = "test-set-1") -> Measurement:
    """What a model of this mAP would measure on 30 persons, two cameras each."""
    rows = [(f"{p:04d}_{c}", f"{p:04d}", c) for p in range(30) for c in (1, 2)]
    frame = pd.DataFrame(rows, columns=["image_id", "person_id", "camera_id"])
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, len(frame))
    frame["ap"] = np.clip(quality + noise, 0, 1)
    frame["rank_1"] = (frame["ap"] > 0.3).astype(float)
    metrics = {"rank_1": float(frame["rank_1"].mean()), "mAP": float(frame["ap"].mean())}
    return Measurement(fingerprint, metrics, frame)


def evidence(root: Path, quality: float, fingerprint: str = "test-set-1") -> Evidence:
    digest = md5_file(weights(root))
    return Evidence(
        evaluation=evaluation(quality, fingerprint),
        weights_md5=digest,
        locked_md5=digest,
        run_status="FINISHED",
        data_valid=True,
        git_sha=git_sha(root),
        uncommitted=(),
        leaks={"gan": (), "encoder": (), "reid": ()},
        frechet=1.0,
        pass_rates={"persons": 0.6, "variations": 0.7},
        baseline=evaluation(quality, fingerprint),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("a clone") / "100% real"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield root


@pytest.fixture(scope="module")
def config(root: Path) -> Config:
    return make_checkout(root)


@pytest.fixture(scope="module")
def registry(root: Path, config: Config) -> Registry:
    return Registry(config, root)


def known(root: Path) -> Reference:
    """The embeddings of some noise, which stands for the validation set."""
    images = np.stack([np.asarray(decode(jpeg(seed))) for seed in range(100, 132)])
    return Reference.of(Embedder.load(weights(root)).embed(images), [1, 2] * 16)


def register(
    registry: Registry, quality: float, fingerprint: str = "test-set-1", **changes: Any
) -> int:
    root = registry.root
    with open_run("register", registry.config, root) as tracker:
        proof = replace(evidence(root, quality, fingerprint), **changes)
        shown = [jpeg(0), jpeg(1)]
        return registry.register(
            tracker, "persons", weights(root), proof, shown, partial(known, root)
        )


@pytest.mark.parametrize("write", ["log_artifacts", "create_logged_model", "create_model_version"])
def test_registering_without_its_database_ends_in_a_line_and_the_next_call_registers(
    tmp_path: Path,
    write: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The database is moved away before each of its writes in turn, and comes back."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # MLflow checks more in tests, before it writes
    registry = Registry(make_checkout(tmp_path / "checkout"), tmp_path / "checkout")
    database, away = registry.root / "mlruns" / "mlflow.db", tmp_path / "away.db"
    original = getattr(mlflow.MlflowClient, write)

    def pull(*args: Any, **kwargs: Any) -> Any:
        if not away.exists():
            database.rename(away)
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, write, pull)
        with pytest.raises((MlflowException, UserError)) as caught:
            register(registry, 0.8)
    capsys.readouterr()
    assert last_words(caught.value, "register") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "run the command again" in said
    away.rename(database)
    monkeypatch.setattr(tracking, "alive", lambda _: False)  # its process has ended
    assert register(registry, 0.8) == 1
    assert len(registry.show()) == 1 and registry.champion() is None
    assert registry.promote(1).action == "promoted"
    runs = registry.store.client.search_runs([registry.store.experiment_id])
    stages = sorted(run.info.status for run in runs if run.info.run_name == "register")
    assert stages == ["FAILED", "FINISHED"]


def decisions(registry: Registry) -> list[Path]:
    """The copies on disk; the log has as many."""
    paths = sorted((registry.root / "mlruns" / "decisions" / registry.name / "own").glob("*.json"))
    history, problems = registry.verify()
    assert problems == [] and len(history.entries) == len(paths)
    return paths


def test_from_the_first_champion_to_rollback(registry: Registry) -> None:
    """One story, because each step needs the registry that the one before left."""
    client, name = registry.store.client, registry.name
    assert registry.champion() is None
    assert registry.show() == []
    with pytest.raises(UserError, match="no champion"):
        registry.rollback()

    first = register(registry, 0.5)
    assert register(registry, 0.5) == first, "the same weights and measurements are one version"
    assert register(registry, 0.5, git_sha="another") == first, "and a commit makes no other"
    with pytest.raises(UserError, match="has no version 7"):
        registry.promote(7)

    # A dry run decides and writes nothing.
    dry = registry.promote(first, dry_run=True)
    assert (dry.action, failures(dry.gates)) == ("promoted", {})
    assert registry.champion() is None
    assert decisions(registry) == []

    decision = registry.promote(first)
    assert (decision.action, decision.champion_after) == ("promoted", first)
    assert registry.champion() == first
    assert "no champion yet" in next(g.reason for g in decision.gates if g.name.startswith("rel"))
    (kept,) = decisions(registry)
    assert json.loads(kept.read_text())["time"] == decision.time
    version = client.get_model_version(name, str(first))
    assert version.tags["lookalike.decision"] == "promoted"
    assert "## Limits" in version.description
    (page,) = client.search_model_versions(f"name = '{name}-decisions'")
    assert "| absolute.mAP | 0.5" in page.description, "a page for people in MLflow's UI"

    # The same decision again changes nothing.
    assert registry.promote(first).action == "unchanged"
    assert len(decisions(registry)) == 1

    # A worse one is refused, once.
    worse = register(registry, 0.4)
    refused = registry.promote(worse)
    assert refused.action == "refused"
    assert set(failures(refused.gates)) == {"relative.mAP", "statistical.mAP"}
    assert registry.champion() == first
    assert registry.promote(worse).action == "refused"
    assert len(decisions(registry)) == 2

    # Measured on other data: refused, unless the champion is measured again on these.
    better = register(registry, 0.6, "test-set-2")
    assert "relative.mAP" in failures(registry.promote(better, dry_run=True).gates)

    def of_an_older_format(path: Path) -> Measurement:
        raise UserError(f"{path} does not fit this version")

    unmeasured = registry.promote(better, dry_run=True, remeasure=of_an_older_format)
    assert "relative.mAP" in failures(unmeasured.gates)

    def somebody_else_promotes(path: Path) -> Measurement:
        assert path.stat().st_size == weights(registry.root).stat().st_size
        if registry.champion() == first:
            client.set_registered_model_alias(name, CHAMPION, str(worse))
        return evaluation(0.5, "test-set-2")

    # The champion changed meanwhile: the candidate is judged again, against the new one.
    decision = registry.promote(better, remeasure=somebody_else_promotes)
    assert (decision.action, decision.champion_before) == ("promoted", worse)
    *_, moved, last = [entry.decision for entry in registry.verify()[0].entries]
    assert (moved.action, moved.champion_before, moved.champion_after) == (
        "moved by hand",
        first,
        worse,
    )
    assert last == decision

    lines = registry.show()
    assert [(v.version, v.aliases, v.decision) for v in lines] == [
        (better, ("champion",), "promoted"),
        (worse, ("previous",), "moved by hand"),
        (first, (), "promoted"),
    ]
    assert (lines[0].replaced, lines[0].arm) == (worse, "persons")

    for expected in (worse, first):
        assert registry.rollback().champion_after == registry.champion() == expected
    assert len(decisions(registry)) == 6
    with pytest.raises(UserError, match="nobody is left"):
        registry.rollback()

    # No pipeline brings back what was rolled back; a person may.
    def again(_: Path) -> Measurement:
        return evaluation(0.5, "test-set-2")

    for _ in range(2):
        refused = registry.promote(better, remeasure=again)
        assert list(failures(refused.gates)) == ["integrity.not_rolled_back"]
        assert registry.champion() == first and len(decisions(registry)) == 7
    assert registry.promote(better, by_hand=True, remeasure=again).action == "promoted"
    assert registry.champion() == better


def test_by_hand(
    root: Path,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`lookalike promote`, `rollback` and `registry show`, on a model of their own."""
    names = config.registry.model_copy(update={"model": "by-hand"})
    registry = Registry(config.model_copy(update={"registry": names}), root)
    for quality in (0.5, 0.6, 0.4):
        register(registry, quality)
    monkeypatch.chdir(parameters_of(registry))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.store.uri)

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["lookalike", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out + printed.err

    status, said = call("promote", "1")
    assert (status, registry.champion()) == (0, 1)
    assert "version 1: promoted; champion: 1\n" in said and "absolute.mAP" in said
    status, said = call("promote", "2", "--dry-run")
    assert (status, registry.champion()) == (0, 1)
    assert "version 2: promoted; champion: 2 (dry run: nothing was written)" in said
    status, said = call("promote", "2", "--force", "--reason", "in a hurry")
    assert status == 0 and "version 2: promoted; champion: 2\n" in said, "no gate fails"
    assert registry.verify()[0].last[2].reason == "in a hurry"
    status, said = call("promote", "2", "--force", "--reason", "once more")
    assert status == 0 and "unchanged" in said and "so the reason is not on record" in said
    assert registry.champion() == 2
    status, said = call("promote", "3")
    assert (status, registry.champion()) == (1, 2)
    assert "version 3: refused; champion: 2" in said
    assert "2 champion" in call("registry", "show")[1]
    assert call("rollback") == (0, "champion: version 1 (was 2)\n")
    assert registry.champion() == 1
    # As if that had been killed before it was finished: the next one finishes it.
    registry.store.client.delete_registered_model_tag("by-hand-decisions", APPLIED)
    status, said = call("rollback", "--reason", "too slow")
    assert status == 0 and said.startswith("champion: version 1 (was 2)\nthis finished a rollback")
    for half in (("--force",), ("--reason", "a demo")):
        status, said = call("promote", "3", *half)
        assert status == 2 and "--force and --reason TEXT go together" in said
    status, said = call("promote", "3", "--force", "--reason", "[a demo]")
    assert (status, registry.champion()) == (0, 3)
    assert "version 3: forced; champion: 3" in said
    status, said = call("registry", "verify")
    assert status == 0 and "5 decisions; nothing was changed or taken out" in said
    assert "[a demo]" in said and "rolled back" in said
    registry.store.client.delete_model_version("by-hand-decisions", "2")
    status, said = call("registry", "verify")
    assert status == 1 and "by-hand-decisions: what stood before entry 3 was taken out" in said


def parameters_of(registry: Registry) -> Path:
    """A folder with the params.yaml that names the registry's model; latency is not judged."""
    folder = registry.root / registry.name
    folder.mkdir()
    values = registry.config.model_dump(mode="json")
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return folder


@pytest.fixture(scope="module")
def served(root: Path, config: Config) -> Registry:
    """Another model's champion; `root / "served"` is where its name is in params.yaml."""
    names = config.registry.model_copy(update={"model": "served"})
    registry = Registry(config.model_copy(update={"registry": names}), root)
    decision = registry.promote(register(registry, 0.5))
    assert decision.action == "promoted"
    onnx = next(gate.value for gate in decision.gates if gate.name == "operational.onnx")
    assert isinstance(onnx, float) and 0 <= onnx <= 1e-4
    parameters_of(registry)
    return registry


class Server:
    """`lookalike serve` in a process of its own.

    Attributes:
        address: where it answers.
        pid: of the process that answers: a signal to the command must reach the server.
    """

    def __init__(self, address: str, pid: int):
        self.address, self.pid = address, pid

    @property
    def peak_memory(self) -> int:
        """The most that was ever resident, bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    @property
    def memory(self) -> int:
        """What is resident, bytes."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def ask(self, *images: object) -> tuple[int, str]:
        """Status and body of one request with one row per image."""
        rows = [[image] for image in images]
        return self.send(json.dumps({"dataframe_split": {"columns": ["image"], "data": rows}}))

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        try:
            with urllib.request.urlopen(f"{self.address}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, sample: str) -> float:
        """A value at /metrics; 0 where nothing was counted yet."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if not line.startswith("#")]
        values = dict(line.rsplit(" ", 1) for line in lines)
        return float(values.get(f"lookalike_{sample}", 0))

    def send(self, body: str | bytes | Iterator[bytes]) -> tuple[int, str]:
        """The same for any body; an iterator is sent in chunks, without a length."""
        request = urllib.request.Request(
            f"{self.address}/invocations",
            body.encode() if isinstance(body, str) else body,
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def running(registry: Registry, *command: str | Path) -> Iterator[Server]:
    """A server, where its model is called so in params.yaml, with a port of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = registry.root / "server.log"
    beside = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": registry.store.uri,
        "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}",
    }
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=registry.root / "served",
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server = Server(f"http://127.0.0.1:{port}", process.pid)
        deadline = time.monotonic() + 400
        while True:
            try:
                with urllib.request.urlopen(f"{server.address}/ping", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        yield server
    finally:
        with suppress(ProcessLookupError):  # MLflow's command starts a shell and workers
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def server(served: Registry) -> Iterator[Server]:
    """`lookalike serve` with that champion in it."""
    with running(served, Path(sys.executable).with_name("lookalike"), "serve") as server:
        yield server


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def grey(seed: int) -> bytes:
    """A picture as of a camera with something in front of it."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 128), (seed % 8, seed % 8, seed % 8)).save(stream, "JPEG")
    return stream.getvalue()


def bomb() -> bytes:
    """400 megapixels in 50 kB."""
    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    return stream.getvalue()


def test_embeddings_over_http(server: Server, root: Path) -> None:
    pictures = [jpeg(1), jpeg(2)]
    images = np.stack([np.asarray(decode(picture)) for picture in pictures])
    expected = Embedder.load(weights(root)).embed(images)
    texts = [text(picture) for picture in pictures]
    for answer in (
        server.ask(*texts),
        server.ask(*images.tolist()),
        server.send(json.dumps({"dataframe_records": [{"image": t} for t in texts]})),
        server.send(json.dumps({"instances": [{"image": t} for t in texts]})),
        server.send(json.dumps({"inputs": {"image": texts}})),
    ):
        status, body = answer
        assert status == 200, body
        embeddings = np.array(json.loads(body)["predictions"])
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
        assert embeddings.shape == expected.shape
        np.testing.assert_allclose(embeddings, expected, atol=1e-4)


def test_what_was_answered_and_refused_is_counted(server: Server) -> None:
    names = (
        "pictures_total",
        "request_seconds_count",
        'requests_total{status="200"}',
        'refusals_total{status="400",by="model"}',
        'refusals_total{status="400",by="guard"}',
    )
    before = [server.metric(name) for name in names]
    server.ask(text(jpeg(1)), text(jpeg(2)))
    server.ask(text(b"no picture at all"))
    server.send("{}")
    after = [server.metric(name) for name in names]
    assert [a - b for a, b in zip(after, before, strict=True)] == [2, 3, 1, 1, 1]
    assert {server.get(path)[0] for path in ("/docs", "/openapi.json", "/redoc")} == {404}


def test_drift_shows_what_the_validation_set_does_not_know(server: Server) -> None:
    assert server.ask(*[text(jpeg(seed)) for seed in range(LEAST)])[0] == 200
    alike = server.metric("embedding_drift")
    assert server.ask(*[text(grey(seed)) for seed in range(256)])[0] == 200
    assert server.metric("embedding_drift_pictures") >= 256 + LEAST
    assert server.metric("embedding_drift") > max(1.0, 2 * alike)


def test_a_candidate_answers_beside_the_champion_and_ends_with_it(served: Registry) -> None:
    """Its own version stands for a candidate, so no difference may be found."""
    command = (Path(sys.executable).with_name("lookalike"), "serve", "--shadow", "1")
    with running(served, *command) as server:
        for start in (0, 20):
            assert server.ask(*[text(jpeg(seed)) for seed in range(start, start + 20)])[0] == 200
        assert server.ask(text(b"no picture at all"))[0] == 400
        deadline = time.monotonic() + 60
        while server.metric("shadow_answered") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert server.metric("shadow_failed") == 0
        assert server.metric("shadow_same_nearest") == 1.0
        assert server.metric("shadow_correlation") > 0.999
        (child,) = psutil.Process(server.pid).children()
        lines = (served.root / "served" / ".lookalike" / "shadow.jsonl").read_text().splitlines()
        assert [json.loads(line)["pictures"] for line in lines] == [20, 20]
        os.kill(server.pid, signal.SIGKILL)
        child.wait(timeout=30)


def huge() -> bytes:
    """33 megapixels, a progressive JPEG."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((5790, 5790), Image.Resampling.NEAREST)
    image.save(stream, "JPEG", progressive=True)
    return stream.getvalue()


def test_large_pictures_leave_no_memory_behind(server: Server) -> None:
    picture = text(huge())
    assert server.ask(text(jpeg()))[0] == 200
    before, peak = server.memory, server.peak_memory
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(server.ask, picture) for _ in range(8)]
        assert {answer.result()[0] for answer in answers} == {200}
    assert server.memory - before < 150_000_000, f"{(server.memory - before) / 1e6:.0f} MB"
    assert server.peak_memory - peak < 800_000_000


def test_a_busy_server_stops_within_two_seconds(served: Registry) -> None:
    with running(served, Path(sys.executable).with_name("lookalike"), "serve") as server:
        process, picture = psutil.Process(server.pid), text(huge())
        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(server.ask, picture)
            time.sleep(1)
            began = time.monotonic()
            os.kill(server.pid, signal.SIGTERM)
            process.wait(timeout=30)
            assert time.monotonic() - began < 2.5, "1.5 s, and what a busy machine adds"


def test_mlflows_own_command_serves_the_same_model(served: Registry, root: Path) -> None:
    """Without the guard of `lookalike serve`: the model itself refuses what is no picture."""
    mlflow = [Path(sys.executable).with_name("mlflow"), "models", "serve", "--env-manager", "local"]
    expected = Embedder.load(weights(root)).embed(np.asarray(decode(jpeg(1)))[None])
    with running(served, *mlflow, "--model-uri", "models:/served@champion") as server:
        status, body = server.ask(text(jpeg(1)))
        assert status == 200, body
        np.testing.assert_allclose(json.loads(body)["predictions"], expected, atol=1e-4)
        status, body = server.ask(text(b"no picture at all"))
        assert status == 400 and "image in row 0: not a readable image" in body
        assert server.ask(text(jpeg(1)))[0] == 200


def test_what_is_no_picture_is_refused_and_the_next_request_is_fine(
    server: Server, root: Path
) -> None:
    """Row by row, with a message that names the row; files of the server are none."""
    refused: dict[object, str] = {
        text(b"no picture at all"): "image in row 1: not a readable image",
        text(jpeg()[:300]): "image in row 1: not a readable image",
        "%%%": "image in row 1 is not base64",
        str(weights(root)): "image in row 1 is not base64",
        text(bomb()): "pixels",
        None: "image in row 1 is neither",
    }
    cases = [*refused.items(), ([[1, 2, 3]], "shape (1, 3)"), ([[[0, 0, 256]]], "0 to 255")]
    for image, message in cases:
        status, body = server.ask(text(jpeg()), image)
        assert status == 400, body
        assert message in json.loads(body)["message"]
    assert server.ask(text(jpeg()))[0] == 200
    assert server.ask(*["x"] * 257)[0] == 400
    assert server.ask()[0] == 400


def small_bodies_of_large_tables(server: Server) -> list[Callable[[], tuple[int, str]]]:
    """Bodies that MLflow would make hundreds of times as much memory of."""
    keys = [{f"k{n}": 0} for n in range(6000)]
    wide: dict[str, object] = {"a": [0] * 50_000, **{f"k{n}": 0 for n in range(2000)}}
    long_index = {"columns": ["image"], "data": [["x"]], "index": list(range(500_000))}
    uneven = ["A" * 400_000, *["b"] * 1000]  # NumPy would make all as long as the first
    array = [[[256] * 3] * 490] * 490  # as large as nested lists may be
    bodies: list[dict[str, object]] = [
        {"dataframe_records": keys},
        {"inputs": wide},
        {"dataframe_split": long_index},
        {"instances": [[]] * 4_000_000},
        {"instances": [*[{"image": "b"}] * 255, {"image": "A" * 2_000_000}]},
        {"dataframe_split": {"columns": [{}], "data": [["x"]]}},
        *[{"instances": [array]}] * 4,
        {"instances": [uneven, "x"]},
    ]
    return [partial(server.send, json.dumps(body)) for body in bodies]


def test_a_crowd_with_hostile_bodies_in_it(server: Server) -> None:
    """50 clients at a time: who sends a picture gets its embedding, the others a 4xx."""
    hostile: list[tuple[Callable[[], tuple[int, str]], int]] = [
        (lambda: server.send(b""), 400),
        (lambda: server.send(b"[" * 100_000), 400),
        (lambda: server.send(b"\xff" * 10_000_000), 400),
        (lambda: server.send(b"\xff" * 100_000_000), 413),
        (lambda: server.ask("A" * 100_000_000), 413),
        (lambda: server.send(iter([b" " * 1_000_000] * 100)), 413),
        (lambda: server.ask(text(bomb())), 400),
        (lambda: server.ask([[1, 2], [3]]), 400),
        *((body, 400) for body in small_bodies_of_large_tables(server)),
    ]
    before = server.peak_memory
    with ThreadPoolExecutor(50) as pool:
        good = [pool.submit(server.ask, text(jpeg(n % 5))) for n in range(42)]
        bad = [(pool.submit(request), status) for request, status in hostile]
        for answer, status in bad:
            assert answer.result()[0] == status, answer.result()[1][:300]
            assert len(answer.result()[1]) < 1200, "a refusal does not repeat what was sent"
            assert "Traceback" not in answer.result()[1]
        answers = [answer.result() for answer in good]
    assert {status for status, _ in answers} == {200}
    embeddings = np.array([json.loads(body)["predictions"][0] for _, body in answers])
    np.testing.assert_allclose(embeddings[5:], embeddings[:-5], atol=1e-5)
    grown = server.peak_memory - before
    assert grown < 500_000_000, f"{grown / 1e6:.0f} MB"
    assert server.ask(text(jpeg()))[0] == 200


def test_local_prediction_takes_files_bytes_and_arrays(served: Registry, tmp_path: Path) -> None:
    """The registered model itself, without a server."""
    uri = served.store.client.get_model_version_download_uri("served", "1")
    with served.store.selected():
        folder = Path(download_artifacts(uri, dst_path=str(tmp_path)))
    model = load_serving_model(folder)
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(jpeg(1))
    array = np.asarray(decode(jpeg(1)))
    forms = [picture, jpeg(1), text(jpeg(1)), array]
    embeddings = np.asarray(model.predict(pd.DataFrame({"image": forms})))
    expected = Embedder.load(weights(served.root)).embed(array[None])
    np.testing.assert_allclose(embeddings, expected.repeat(4, axis=0), atol=1e-5)
    for wrong, message in (
        (str(picture), "not base64"),
        (tmp_path / "nowhere.jpg", "No such file"),
        (array.astype(np.float32), "uint8"),
        (array[..., 0], "H, W, 3"),
    ):
        with pytest.raises(MlflowException, match=message):
            model.predict(pd.DataFrame({"image": [wrong]}))


def test_commands_take_the_champion_unless_told_otherwise(served: Registry) -> None:
    champion = choose_model(served.config, served.root)
    assert champion.name == "served v1"
    assert champion.digest == sha256_file(weights(served.root))
    by_number = choose_model(served.config, served.root, "1")
    by_path = choose_model(served.config, served.root, str(weights(served.root)))
    assert champion.description == by_number.description
    assert by_path.description == {**champion.description, "model": "model.safetensors"}
    image = np.asarray(decode(jpeg(1)))[None]
    np.testing.assert_array_equal(champion.embedder.embed(image), by_path.embedder.embed(image))
    for wrong in ("7", "nowhere.safetensors", "@challenger"):
        with pytest.raises(UserError):
            choose_model(served.config, served.root, wrong)
    names = served.config.registry.model_copy(update={"model": "nobody's"})
    with pytest.raises(UserError, match="no version yet; run `dvc repro`"):
        choose_model(served.config.model_copy(update={"registry": names}), served.root)


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a store but the lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "mlruns").rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_a_copy_writes_into_itself_and_a_moved_checkout_works(
    served: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = files(served.root)
    copy = tmp_path / 'a copy of Zoë\'s $HOME, "50%" #2'
    shutil.copytree(served.root, copy)
    assert choose_model(served.config, copy).name == "served v1"
    with open_run("register", served.config, copy) as tracker:
        tracker.artifact(copy / "params.yaml")
    written = copy / "mlruns" / "artifacts" / tracker.run_id / "artifacts" / "params.yaml"
    assert written.is_file()
    assert files(served.root) == original

    moved = tmp_path / "moved"
    copy.rename(moved)
    link = moved / "served" / "mlruns"
    if link.is_dir():  # a lock's folder, of a command that another test ran there
        shutil.rmtree(link)
    link.symlink_to(moved / "mlruns")
    monkeypatch.chdir(moved / "served")
    monkeypatch.setattr("sys.argv", ["lookalike", "promote", "1", "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert not copy.exists()
