"""The stages of a rehearsal, each in a process of its own, and what is to be said of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.config import KINDS, Config
from lookalike.names import BASELINE
from lookalike.rehearsal.estimate import Amounts, seconds
from lookalike.rehearsal.watch import Work
from lookalike.weights import VARIABLE

RESULTS = Path("results")  # in the rehearsal's folder
STAND_INS = Path("stand_ins.json")
GIB = 2**30
# What is counted for the speed of a stage, in the order of what it is most of.
MAIN = ("train re-ID", "train_gan", "train encoder", "generate", "detector", "embed", "read images")


@dataclass(frozen=True)
class Outcome:
    """What became of a stage.

    Attributes:
        stage: as in dvc.yaml.
        problem: in a line, why it did not run to its end; "" if it did.
        found: what it wrote down, see pipelines/rehearse.py; nothing if it did not end.
    """

    stage: str
    problem: str
    found: dict[str, Any]

    @property
    def work(self) -> dict[str, Work]:
        """What its bars counted."""
        return {name: Work(**done) for name, done in self.found["work"].items()}

    @property
    def main(self) -> tuple[str, Work] | None:
        """The bar that stands for the stage, if there is one."""
        for start in MAIN:
            for name, done in self.work.items():
                if name.startswith(start):
                    return name, done
        return None

    def real_seconds(self, amount: Amounts) -> float:
        """Of the real run, on this machine alone."""
        outside = self.found["seconds"] - sum(done.seconds for done in self.work.values())
        return seconds(self.work, max(0.0, outside), amount)

    def real_bytes(self, amount: Amounts) -> float:
        """That the real run leaves below artifacts/, archives grown with their images."""
        grown = self.found["archive_bytes"]
        if self.main and self.main[0] in amount:
            grown *= amount[self.main[0]] / max(1, self.main[1].count)
        return float(grown + self.found["other_bytes"])


def result_file(stage: str) -> Path:
    """Where a stage's process writes, in the rehearsal's folder."""
    return RESULTS / f"{stage.replace('@', '-')}.json"


def stages_of(config: Config) -> list[str]:
    """The stages in the pipeline's order; `register` has no networks to try, and is left out."""
    others = [arm for arm in config.arms if arm != BASELINE]
    return [
        "prepare",
        "validate",
        f"train_reid@{BASELINE}",
        "train_gan",
        "train_encoder",
        *(f"generate@{kind}" for kind in KINDS),
        *(f"filter@{kind}" for kind in KINDS),
        *(f"train_reid@{arm}" for arm in others),
        *(f"evaluate@{arm}" for arm in config.arms),
    ]


def run_stage(stage: str, root: Path, folder: Path) -> Outcome:
    """Run a stage of the repository at `root` in the rehearsal's folder."""
    (folder / result_file(stage)).unlink(missing_ok=True)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(root.resolve()), os.environ.get("PYTHONPATH", "")]),
        VARIABLE: str((folder / "weights").resolve()),
    }
    log = folder / RESULTS / f"{stage.replace('@', '-')}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.run(
            [sys.executable, "-m", "pipelines.rehearse", stage],
            cwd=folder,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    if process.returncode == 0:
        return Outcome(stage, "", json.loads((folder / result_file(stage)).read_text()))
    if process.returncode < 0:
        return Outcome(stage, _killed(-process.returncode), {})
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return Outcome(stage, lines[-1].strip() if lines else f"exit {process.returncode}", {})


def _killed(signal: int) -> str:
    hint = ": too little memory?" if signal == 9 else ""
    return f"killed by signal {signal}{hint}"
