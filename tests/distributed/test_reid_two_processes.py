"""Two gloo processes train what one process trains that accumulates both micro-batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

LEARNING_RATE = 1e-4  # of the script
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.mark.distributed
def test_two_processes_equal_one_that_accumulates(tmp_path: Path, launch) -> None:  # type: ignore[no-untyped-def]
    (alone,) = launch("reid_training.py", tmp_path / "one", 1)
    first, second = launch("reid_training.py", tmp_path / "two", 2)
    assert alone.keys() == first.keys() == second.keys()
    results = [name for name in alone if name.startswith("evaluation.")]
    assert len(results) == 8 and all(torch.equal(alone[name], first[name]) for name in results)
    for name in alone:
        # Between the processes: the same bits, running statistics included.
        assert torch.equal(first[name], second[name]), name
        # Running statistics see the micro-batches one after the other alone, side by side in two.
        if not name.endswith(STATISTICS):
            # Adam moves a weight by up to the learning rate per step, whatever its gradient's
            # size, so a sum in another order would show in units of it.
            torch.testing.assert_close(
                first[name], alone[name], rtol=0, atol=LEARNING_RATE / 10, msg=name
            )

    # Started again, both pick up the finished state instead of training another time.
    _, again = launch("reid_training.py", tmp_path / "two", 2)
    assert all(torch.equal(again[name], first[name]) for name in first)
