"""Two gloo processes train what one process trains that accumulates both micro-batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

LEARNING_RATE = 1e-4  # of the script


@pytest.mark.distributed
def test_two_processes_equal_one_that_accumulates(tmp_path: Path, launch) -> None:  # type: ignore[no-untyped-def]
    (alone,) = launch("reid_training.py", tmp_path / "one", 1)
    first, second = launch("reid_training.py", tmp_path / "two", 2)
    assert first.keys() == second.keys() > alone.keys()
    for name in alone:
        # Between the processes: the same bits, running statistics included.
        assert torch.equal(first[name], second[name]), name
        # Adam moves a weight by up to the learning rate per step, whatever its gradient's
        # size, so a sum in another order would show in units of it. Statistics and features, of
        # the size of 1, inherit that.
        torch.testing.assert_close(
            first[name], alone[name], rtol=1e-4, atol=LEARNING_RATE / 10, msg=name
        )

    # Stopped and started again, both go on from the last checkpoint to the same bits; and they
    # pick up a finished state instead of training another time.
    assert (tmp_path / "two" / "stopped").is_dir()
    for name in alone:
        key = name.partition("/")[2]
        for run in ("resumed", "again"):
            for process in (first, second):
                assert torch.equal(process[f"{run}/{key}"], first[name]), (run, key)
