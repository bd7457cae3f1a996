"""Kill a pipeline with SIGKILL, over and over, and compare with one that nobody disturbed.

A small pipeline (that of the tests: every stage, few and small images) is run twice without a
disturbance; what differs between these two, times and runs' ids, is not compared. Then every stage
is killed at random moments of its time: the whole process group, as when a machine dies; DVC
alone, whose stage is left an orphan; or the stage alone, as the kernel does where memory is short.
`dvc repro` follows each time and has nothing but what the kill has left. In the end all outputs
must have the digests of the undisturbed run, the curves in MLflow all their points, the registry
one champion and a log that verifies, and nothing half-written may lie about.

    OMP_NUM_THREADS=1 nice python benchmarks/kills.py            # 3 kills of each of 17 stages
    OMP_NUM_THREADS=1 nice python benchmarks/kills.py --kills 1 --seed 2
    OMP_NUM_THREADS=1 nice python benchmarks/kills.py --kills 5 --stages evaluate register
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from small_pipeline import Repository, make_repository  # noqa: E402

WAYS = ("all", "DVC", "stage")
HALF_WRITTEN = (".partial-", ".tmp")  # ours, and those of safetensors and DVC
Points = dict[tuple[str, str, int], float]  # of curves: by stage, name and step


@dataclass
class Repro:
    """`dvc repro` at work, and which stages it has begun."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    began: dict[str, float] = field(default_factory=dict)
    orphans: list[psutil.Process] = field(default_factory=list)

    @classmethod
    def start(cls, repo: Repository) -> Repro:
        """Begin, and read along."""
        repro = cls(repo.start("dvc", "repro"))
        threading.Thread(target=repro._read, daemon=True).start()
        return repro

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.match(r"Running stage '(.*)'", line):
                self.began[found[1]] = time.monotonic()

    def end(self) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait()
        time.sleep(0.1)  # the last lines
        return status

    @property
    def at(self) -> str:
        """The stage that began last."""
        return max(self.began, key=lambda stage: self.began[stage], default="")

    def kill(self, way: str) -> str:
        """SIGKILL; says whom it hit."""
        dvc = psutil.Process(self.process.pid)
        stages = dvc.children(recursive=True)
        if way == "stage" and stages:
            for process in stages:
                process.kill()
        elif way == "DVC" and stages:
            dvc.kill()
            self.orphans = stages
        else:
            way = "all"
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return way


def run_all_but(stages: list[str], repo: Repository) -> None:
    """Every stage that is none of these; none of them may come before it."""
    names = repo.run("dvc", "stage", "list", "--name-only").split()
    repo.run("dvc", "repro", *(name for name in names if name.partition("@")[0] not in stages))


def run_undisturbed(repo: Repository) -> dict[str, float]:
    """Seconds of each stage, what DVC does after it included."""
    repro = Repro.start(repo)
    if repro.end():
        sys.exit("".join(repro.lines))
    ends = [*list(repro.began.values())[1:], time.monotonic()]
    return {
        stage: end - began for (stage, began), end in zip(repro.began.items(), ends, strict=True)
    }


def outputs(repo: Repository) -> dict[str, str]:
    """Digests of all outputs, from dvc.lock; figures that git keeps have no entry in the cache."""
    stages = yaml.safe_load((repo.folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ())}


def points(repo: Repository) -> Points:
    """Every point of every curve, over all runs of a stage."""
    import mlflow

    from lookalike.store import tracking_uri

    os.environ.pop("MLFLOW_TRACKING_URI", None)
    client = mlflow.MlflowClient(tracking_uri(repo.folder))
    experiment = client.get_experiment_by_name("lookalike")
    found: Points = {}
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        stage = run.data.tags.get("lookalike.stage", "")
        for name in run.data.metrics if stage else ():
            for point in client.get_metric_history(run.info.run_id, name):
                found[stage, name, point.step] = point.value
    return found


def running(repo: Repository) -> int:
    """Runs that MLflow calls running although nobody works."""
    import mlflow

    from lookalike.store import tracking_uri

    client = mlflow.MlflowClient(tracking_uri(repo.folder))
    experiment = client.get_experiment_by_name("lookalike")
    return len(client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'"))


def half_written(repo: Repository) -> list[str]:
    """Files that somebody began and nobody finished, and resume state of finished stages."""
    left = [
        path
        for path in repo.folder.rglob("*")
        if path.name.startswith(HALF_WRITTEN) or path.suffix == ".tmp"
    ]
    left += (repo.folder / ".lookalike" / "resume").glob("*")
    return sorted(str(path.relative_to(repo.folder)) for path in left)


def disturb(repo: Repository, seconds: dict[str, float], kills: int, chance: random.Random) -> None:
    """Kill every stage some times, then let the pipeline end.

    If the last stage ends before its kill comes, it gets back what it had: nothing would run then.
    """
    done: Counter[tuple[str, str]] = Counter()
    lost: list[str] = []
    last, before = [*seconds][-1], repo.folder.with_name("before")
    for turn, (stage, lasts) in enumerate(seconds.items()):
        number = 0
        while number < kills:
            if stage == last:
                shutil.rmtree(before, ignore_errors=True)
                shutil.copytree(repo.folder, before, symlinks=True)
            number += 1
            repro, way = Repro.start(repo), WAYS[(turn + number) % len(WAYS)]
            moment = chance.uniform(0, lasts)
            while stage not in repro.began and repro.process.poll() is None:
                time.sleep(0.01)
            while repro.process.poll() is None:
                if time.monotonic() > repro.began[stage] + moment:
                    break
                time.sleep(0.01)
            if repro.process.poll() is not None:
                if repro.end():
                    lost.append(f"{stage}: {''.join(repro.lines)}")
                    print(lost[-1], flush=True)
                elif stage == last and stage in repro.began:
                    shutil.rmtree(repo.folder)
                    before.rename(repo.folder)
                    number -= 1
                continue  # it was through already
            way, hit = repro.kill(way), repro.at
            done[way, hit] += 1
            print(f"{number} of {stage}: {way}, {moment:.1f} s after its start", flush=True)
            if stage == last:  # it is copied next
                psutil.wait_procs(repro.orphans, timeout=60)
    repro = Repro.start(repo)
    if repro.end():
        lost.append("".join(repro.lines))
        print(lost[-1], flush=True)
    report_kills(done)
    print(f"`dvc repro` that failed by itself: {len(lost)}")


def report_kills(done: Counter[tuple[str, str]]) -> None:
    """Who was killed at what, as a table."""
    print(f"\n| stage at work | {' | '.join(WAYS)} |\n|---|{'---:|' * len(WAYS)}")
    for stage in dict.fromkeys(stage for _, stage in done):
        print(f"| {stage} | {' | '.join(str(done[way, stage]) for way in WAYS)} |")
    sums = (sum(n for (w, _), n in done.items() if w == way) for way in WAYS)
    print(f"| together | {' | '.join(map(str, sums))} |")
    print(f"kills: {done.total()}")


def compare(repos: tuple[Repository, Repository], killed: Repository) -> bool:
    """What the kills have changed; whether nothing."""
    one, two = map(outputs, repos)
    same = {path: digest for path, digest in one.items() if two[path] == digest}
    there = outputs(killed)
    differ = [path for path, digest in same.items() if there.get(path) != digest]
    print(f"outputs: {len(one)}, of which {len(same)} are the same in two undisturbed runs")
    print(f"of those, other after the kills: {len(differ)} {differ}")

    curves, also, found = points(repos[0]), points(repos[1]), points(killed)
    lacking = [key for key in curves if key in also and key not in found]
    certain = [key for key, value in curves.items() if also.get(key) == value]
    wrong = [key for key in certain if key in found and found[key] != curves[key]]
    print(f"points of curves: {len(curves)}, lacking: {len(lacking)} {lacking[:5]}")
    print(f"of {len(certain)} that are the same in two runs, other: {len(wrong)} {wrong[:5]}")

    left, open_runs = half_written(killed), running(killed)
    print(f"half-written files or states: {len(left)} {left[:5]}; runs left running: {open_runs}")
    verified = killed.run("lookalike", "registry", "verify")
    shown = killed.run("lookalike", "registry", "show")
    print(verified.strip(), shown.strip(), sep="\n")
    again = "Running stage" in killed.run("dvc", "repro")
    print(f"another `dvc repro` runs something: {'yes' if again else 'no'}")
    return not (differ or lacking or wrong or left or open_runs or again)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=3, help="of every stage")
    parser.add_argument(
        "--stages", nargs="+", default=[], help="only these, which end the pipeline"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; kept")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.folder or Path(scratch)
        first = make_repository(folder / "first")
        if chosen.stages:  # the others run once, before there are copies
            run_all_but(chosen.stages, first)
        copies = [Repository(folder / name) for name in ("second", "killed")]
        for copy in copies:
            shutil.copytree(first.folder, copy.folder, symlinks=True)
        second, killed = copies
        seconds = run_undisturbed(first)
        print(f"undisturbed: {sum(seconds.values()):.0f} s in {len(seconds)} stages", flush=True)
        run_undisturbed(second)
        began = time.monotonic()
        disturb(killed, seconds, chosen.kills, random.Random(chosen.seed))
        print(f"killed and gone on: {time.monotonic() - began:.0f} s")
        sys.exit(not compare((first, second), killed))


if __name__ == "__main__":
    main()
