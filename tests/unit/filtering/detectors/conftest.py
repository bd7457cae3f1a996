from __future__ import annotations

import pytest

from lookalike.data.loading import Images
from lookalike.data.population import render_crops


@pytest.fixture(scope="module")
def crops() -> Images:
    return render_crops(3, 20, 3, 128, 64, workers=1, progress=False)
