"""Two gloo processes train the GAN that one process trains on the whole batch at once.

With R1, adaptive augmentation, labels, and seven images in batches of eight: they do not divide.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

LEARNING_RATE = 2e-3  # of the script


@pytest.mark.distributed
def test_two_processes_equal_one(tmp_path: Path, launch) -> None:  # type: ignore[no-untyped-def]
    (alone,) = launch("gan_training.py", tmp_path / "one", 1)
    first, second = launch("gan_training.py", tmp_path / "two", 2)
    assert alone.keys() == first.keys() == second.keys()
    for name in alone:
        # Between the processes: the same bits, averages and running statistics included.
        assert torch.equal(first[name], second[name]), name
        # Adam moves a weight by up to the learning rate per step, whatever its gradient's size,
        # so a wrong sum would show in units of it.
        torch.testing.assert_close(
            first[name], alone[name], rtol=1e-5, atol=LEARNING_RATE / 100, msg=name
        )
    states = [
        torch.load(path, weights_only=True)["adaptation"]
        for path in sorted(tmp_path.glob("*/resume/*/state.pt"))
    ]
    assert len(states) == 2
    assert states[0] == states[1], "what is saved counts all processes"
    assert states[0]["sign"] is not None
    assert states[0]["p"] != 0.5, "p moved"


@pytest.mark.distributed
def test_processes_that_differ_stop_before_they_save(tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    script = str(Path(__file__).with_name("gan_training.py"))
    done = start(script, str(tmp_path), "broken", processes=2, cwd=tmp_path)
    assert done.returncode != 0
    assert "processes hold different states of discriminator; nothing was saved" in done.stderr
    (path,) = tmp_path.glob("resume/*/state.pt")
    assert torch.load(path, weights_only=True)["images_seen"] == 8, "the checkpoint before"
