"""A network to look into."""

from __future__ import annotations

import pytest
import torch

from lookalike.config import ReidConfig
from lookalike.reid.embedder import Embedder
from lookalike.reid.model import new_reid


@pytest.fixture
def embedder(config: ReidConfig) -> Embedder:
    torch.manual_seed(0)
    return Embedder(new_reid(config, 3))
