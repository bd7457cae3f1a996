"""Two machines, each a network namespace with one card, train what one machine trains."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_pipeline import BIN, Repository, make_repository

ROOT = Path(__file__).parents[2]
MACHINE = str(ROOT / "examples" / "machine.sh")
CARD, ADDRESSES = "eth0", ("10.77.0.1", "10.77.0.2")  # nothing else can be reached from there
ENVIRONMENT = {
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    "ACCELERATE_USE_CPU": "true",
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": CARD,
    "FIRST": ADDRESSES[0],
    "MACHINES": "2",
    "PROCESSES": "1",
}
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def on_machine() -> Iterator[Start]:
    """Starts a command on machine 0 or 1; whatever is left of it ends with the test."""
    names = [f"lookalike-{os.getpid()}-{number}" for number in range(2)]
    processes: list[subprocess.Popen[str]] = []

    def ip(*arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no network namespaces here: ip {arguments[0]}: {done.stderr.strip()}")

    def started(machine: int, *command: str, cwd: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["ip", "netns", "exec", names[machine], *command],
            cwd=cwd, env=os.environ | ENVIRONMENT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        processes.append(process)
        return process

    try:
        for name in names:
            ip("netns", "add", name)
        ends = [["name", CARD, "netns", name] for name in names]
        ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", CARD)
            for card in ("lo", CARD):
                ip("-n", name, "link", "set", card, "up")
        yield started
    except FileNotFoundError:
        pytest.skip("no network namespaces here: the program `ip` is missing (iproute2)")
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def finish(*processes: subprocess.Popen[str]) -> None:
    outputs = [process.communicate()[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output


@pytest.mark.distributed
def test_the_weights_are_those_of_two_processes(tmp_path: Path, on_machine: Start, launch) -> None:  # type: ignore[no-untyped-def]
    script, folder = str(ROOT / "tests" / "distributed" / "reid_training.py"), tmp_path / "apart"
    folder.mkdir()
    finish(*(on_machine(n, MACHINE, str(n), script, str(folder), cwd=folder) for n in range(2)))
    for rank, expected in enumerate(launch("reid_training.py", tmp_path / "together", 2)):
        found = load_file(folder / f"process-{rank}-of-2.safetensors")
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor), name


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    """A repository whose batches two processes can share."""
    repo = make_repository(tmp_path / "repo")
    params = repo.folder / "params.yaml"
    params.write_text(params.read_text().replace("micro_batch: 32", "micro_batch: 16"))
    repo.environment |= ENVIRONMENT | {"PYTHONPATH": repo.environment["PYTHONPATH"]}
    return repo


@pytest.mark.distributed
@pytest.mark.pipeline
@pytest.mark.timeout(1800)  # beside other work; alone a minute or two
def test_a_stage_runs_under_dvc_as_the_page_says(repo: Repository, on_machine: Start) -> None:
    """DVC on the first machine; the second joins with the stage's command."""
    model, stage = "artifacts/train_reid/baseline/model.safetensors", "train_reid@baseline"
    together = "accelerate launch --multi_gpu --num_processes 2 --main_process_port 0"
    repo.environment |= {"LAUNCH": together, "GLOO_SOCKET_IFNAME": "lo"}
    repo.run("dvc", "repro", "--quiet", stage)
    expected = repo.sha256(model)
    (repo.folder / model).unlink()

    path, at = f"PYTHONPATH={repo.environment['PYTHONPATH']}", repo.folder
    again = ("dvc", "repro", "--force", "--single-item", stage)
    join = (MACHINE, "1", "-m", "pipelines.train_reid", "baseline")
    first = on_machine(0, "env", path, f"LAUNCH={MACHINE} 0", *again, cwd=at)
    second = on_machine(1, "env", path, *join, cwd=at)
    finish(first, second)
    assert repo.sha256(model) == expected
