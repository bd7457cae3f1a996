"""An arm trains on the images that dvc.yaml declares for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipelines.arms import check_declared

from lookalike.config import ArmConfig, load_config
from lookalike.errors import UserError

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "dvc.yaml"


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_arms_read_what_dvc_watches(path: Path) -> None:
    for name, arm in load_config(path).arms.items():
        check_declared(name, arm, PIPELINE)


def test_an_arm_with_other_images_than_declared_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"persons: \{images: artifacts/filter/variations") as error:
        check_declared("persons", ArmConfig(images="variations"), PIPELINE)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="under train_reid, not None"):
        check_declared("more", ArmConfig(images="persons"), PIPELINE)
