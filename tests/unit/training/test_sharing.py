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

    assert len(shared(make, images, Session(seed=1), unit=8)) == 100
    assert len(seen) == 1
    assert seen[0] is images
