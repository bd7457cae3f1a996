from __future__ import annotations

import numpy as np

from lookalike.training.session import Session
from lookalike.training.sharing import shared


def test_one_process_makes_all_at_once() -> None:
    images = np.zeros((100, 2, 1, 3), np.uint8)
    seen = []

    def make(mine: np.ndarray) -> np.ndarray:
        seen.append(mine)
        return np.zeros(len(mine))

    for session in (None, Session(seed=1)):
        assert len(shared(make, images, session, unit=8)) == 100
    assert len(seen) == 2
    assert all(mine is images for mine in seen)
