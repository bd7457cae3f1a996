"""A small rendered data set in Market-1501's layout, drawn once per session."""

import shutil
from pathlib import Path

import pytest

from lookalike.config import DataConfig
from lookalike.data.population import render_population


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rendered") / "data"
    render_population(
        root,
        seed=3,
        train_persons=5,
        test_persons=3,
        images_per_person=8,
        distractors=2,
        junk=2,
        workers=1,
        progress=False,
    )
    return root


@pytest.fixture
def repository(rendered: Path, tmp_path: Path) -> Path:
    """A repository root with a copy of the data in `data/` that a test may damage."""
    shutil.copytree(rendered, tmp_path / "repo" / "data")
    return tmp_path / "repo"


@pytest.fixture
def data_config() -> DataConfig:
    return DataConfig(source="rendered", rendered=None, validation_persons=2, on_problem="fail")
