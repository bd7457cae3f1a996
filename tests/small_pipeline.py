"""A repository of its own with the whole pipeline in it, so small that it takes a minute or two."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from lookalike.config import Config

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SHIPPED = ("pipelines", "dvc.yaml", ".dvcignore", "pyproject.toml", "requirements.lock")


def small_parameters() -> dict:
    """params.yaml at the size of a minute or two; open gates, for networks that know nothing."""
    params = Config().model_dump(mode="json")
    params["data"]["rendered"] |= {
        "train_persons": 10, "test_persons": 6, "images_per_person": 8, "distractors": 4, "junk": 4,
    }  # fmt: skip
    params["data"]["validation_persons"] = 3
    params["reid"] |= {"epochs": 2, "checkpoint_images": 32, "batch_size": 32, "micro_batch": 32}
    params["gan"] |= {
        "total_images": 48, "snapshot_images": 24, "checkpoint_images": 8, "distance_samples": 16,
        "start": "none", "channel_base": 256, "channel_max": 16,
        "discriminator_channel_base": 256, "discriminator_channel_max": 16,
    }  # fmt: skip
    params["encoder"] |= {"total_images": 32, "latent_steps": 2}
    params["generate"]["persons"] |= {"count": 3, "images_per_person": 4}
    params["generate"]["variations"] |= {"images_per_person": 1}
    for name in ("detector", "ssim", "identity", "novelty", "realism"):
        params["filter"][f"{name}_threshold"] = {"value": -100.0}
    params["filter"]["duplicate_similarity"] = 1.0
    params["arms"]["variations"] |= {"label": "soft", "batch_share": 0.5, "own_statistics": True}
    params["gates"] |= {
        "min_rank1": 0, "min_map": 0, "min_camera_rank1": 0, "pass_rate": [0, 1],
        "max_frechet": 10, "max_latency_ms": 60_000, "baseline_margin": 1,
    }  # fmt: skip
    return params


class Repository:
    """A repository of its own, with this checkout's library and stages."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_TRACKING_URI": "",
            "PYTHONPATH": str(folder / "src"),  # its own code, whatever happens to the checkout
            "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@localhost",
            "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@localhost",
        }  # fmt: skip

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *command: str, status: int = 0) -> str:
        process = self.start(*command)
        try:
            output, _ = process.communicate()
        except BaseException:  # a test's time is up
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert process.returncode == status, output
        return output

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "state")

    def json(self, path: str) -> dict:
        return json.loads((self.folder / path).read_text())

    def sha256(self, path: str) -> str:
        return hashlib.sha256((self.folder / path).read_bytes()).hexdigest()

    def files(self, folder: str) -> dict[str, str]:
        """Name and digest of everything in a folder."""
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((self.folder / folder).iterdir())
            if path.name != "run.json"  # names another run each time
        }


def make_repository(folder: Path, parameters: dict | None = None) -> Repository:
    """Everything rendered and committed; nothing has run yet. Small unless told otherwise."""
    repo = Repository(folder)
    repo.folder.mkdir(parents=True)
    for name in SHIPPED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, repo.folder / name)
    (repo.folder / "weights").mkdir()
    shutil.copy(ROOT / "weights" / ".gitignore", repo.folder / "weights")
    # The stages depend on the library's source; it is the checkout's own.
    shutil.copytree(ROOT / "src", repo.folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    # The checkout's own: bytecode must not count as uncommitted code. mlruns/ has its own there.
    ignored = (ROOT / ".gitignore").read_text() + "/mlruns/\n"
    (repo.folder / ".gitignore").write_text(ignored)
    text = yaml.safe_dump(parameters or small_parameters(), sort_keys=False)
    (repo.folder / "params.yaml").write_text(text)
    repo.run("git", "init", "--quiet")
    repo.run("dvc", "init", "--quiet")
    repo.run("dvc", "config", "core.analytics", "false")
    repo.run("lookalike", "data", "render")
    repo.run("dvc", "add", "--quiet", "data")
    repo.commit()
    return repo
