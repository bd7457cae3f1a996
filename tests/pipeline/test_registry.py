"""Register, promote, race, roll back, serve: real MLflow in a folder with a blank in its name."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lookalike.config import Config, load_config
from lookalike.data.loading import decode
from lookalike.errors import UserError
from lookalike.provenance import git_sha, md5_file
from lookalike.registry.evidence import Evaluation, Evidence
from lookalike.registry.gates import failures
from lookalike.registry.promotion import CHAMPION, ChampionMovedError, Registry
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import new_reid, save_reid
from lookalike.tracking import open_run

pytestmark = pytest.mark.pipeline
REPOSITORY = Path(__file__).parents[2]


def make_checkout(root: Path) -> Config:
    """A repository with parameters and weights; latency is not judged on a busy test machine."""
    root.mkdir(parents=True)
    (root / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
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


def evaluation(quality: float, fingerprint: str = "test-set-1") -> Evaluation:
    """What a model of this mAP would measure on 30 persons, two cameras each."""
    rows = [(f"{p:04d}_{c}", f"{p:04d}", c) for p in range(30) for c in (1, 2)]
    frame = pd.DataFrame(rows, columns=["image_id", "person_id", "camera_id"])
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, len(frame))
    frame["ap"] = np.clip(quality + noise, 0, 1)
    frame["rank_1"] = (frame["ap"] > 0.3).astype(float)
    metrics = {"rank_1": float(frame["rank_1"].mean()), "mAP": float(frame["ap"].mean())}
    return Evaluation(fingerprint, metrics, frame)


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


def register(
    registry: Registry, quality: float, fingerprint: str = "test-set-1", **changes: Any
) -> int:
    root = registry.root
    with open_run("register", registry.config, root) as tracker:
        proof = replace(evidence(root, quality, fingerprint), **changes)
        return registry.register(tracker, "persons", weights(root), proof, [jpeg(0), jpeg(1)])


def decisions(registry: Registry) -> list[Path]:
    return sorted((registry.root / "mlruns" / "decisions").glob("*.json"))


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
    assert json.loads(kept.read_text())["key"] == decision.key
    version = client.get_model_version(name, str(first))
    assert version.tags["lookalike.decision"] == "promoted"
    assert "## Limits" in version.description
    run_files = [f.path for f in client.list_artifacts(version.run_id, "decisions")]
    assert run_files == [f"decisions/{kept.name}"]

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

    def somebody_else_promotes(path: Path) -> Evaluation:
        assert path.stat().st_size == weights(registry.root).stat().st_size
        client.set_registered_model_alias(name, CHAMPION, str(worse))
        return evaluation(0.5, "test-set-2")

    with pytest.raises(ChampionMovedError, match=f"is v{worse}, not v{first}"):
        registry.promote(better, remeasure=somebody_else_promotes)
    assert registry.champion() == worse, "the other's change stands"
    assert "lookalike.predecessor" not in client.get_model_version(name, str(better)).tags
    assert len(decisions(registry)) == 2
    client.set_registered_model_alias(name, CHAMPION, str(first))

    decision = registry.promote(better, remeasure=lambda _: evaluation(0.5, "test-set-2"))
    assert (decision.action, decision.champion_before) == ("promoted", first)

    lines = registry.show()
    assert [(v.version, v.champion) for v in lines] == [
        (better, True),
        (worse, False),
        (first, False),
    ]
    assert (lines[0].predecessor, lines[0].arm) == (str(first), "persons")

    back = registry.rollback()
    assert (back.action, back.champion_before, back.champion_after) == (
        "rolled back",
        better,
        first,
    )
    assert registry.champion() == first
    assert len(decisions(registry)) == 4
    with pytest.raises(UserError, match="replaced no champion"):
        registry.rollback()


@pytest.fixture(scope="module")
def server(root: Path, config: Config) -> Iterator[str]:
    """The address of a server with another model's champion in it."""
    names = config.registry.model_copy(update={"model": "served"})
    registry = Registry(config.model_copy(update={"registry": names}), root)
    assert registry.promote(register(registry, 0.5)).action == "promoted"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = f"models:/{registry.name}@champion"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": registry.store.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    log = root / "server.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 400
        while True:
            try:
                with urllib.request.urlopen(f"{address}/ping", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def ask(address: str, *images: str) -> tuple[int, str]:
    """Status and body of one request."""
    body = {"dataframe_split": {"columns": ["image"], "data": [[image] for image in images]}}
    request = urllib.request.Request(
        f"{address}/invocations",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_embeddings_over_http(server: str, root: Path) -> None:
    pictures = [jpeg(1), jpeg(2)]
    status, body = ask(server, *map(text, pictures))
    assert status == 200, body
    served = np.array(json.loads(body)["predictions"])
    np.testing.assert_allclose(np.linalg.norm(served, axis=1), 1, atol=1e-5)
    images = np.stack([np.asarray(decode(picture)) for picture in pictures])
    expected = Embedder.load(weights(root)).embed(images)
    assert served.shape == expected.shape
    np.testing.assert_allclose(served, expected, atol=1e-4)


def test_what_is_no_picture_is_refused_and_the_next_request_is_fine(server: str) -> None:
    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")  # 400 megapixels in 50 kB
    refused = {
        text(b"no picture at all"): "image in row 1: not a readable image",
        text(jpeg()[:300]): "image in row 1: not a readable image",
        "%%%": "image in row 1 is not base64",
        text(stream.getvalue()): "pixels",
    }
    for image, message in refused.items():
        status, body = ask(server, text(jpeg()), image)
        assert status == 400, body
        assert message in json.loads(body)["message"]
    assert ask(server, text(jpeg()))[0] == 200
    assert ask(server, *["x"] * 257)[0] == 400
