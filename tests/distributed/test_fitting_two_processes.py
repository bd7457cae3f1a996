"""Two gloo processes share out the fitting of latents; each gets all, as one process would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.mark.distributed
def test_the_latents_are_those_of_one_process(tmp_path: Path, launch) -> None:  # type: ignore[no-untyped-def]
    (alone,) = launch("latent_fitting.py", tmp_path / "one", 1)
    for shared in launch("latent_fitting.py", tmp_path / "two", 2):
        assert torch.equal(shared["fitted"], alone["fitted"])
    assert (alone["fitted"] - alone["start"]).flatten(1).norm(dim=1).min() > 0
