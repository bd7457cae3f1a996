"""The generated images of an arm, about which params.yaml and dvc.yaml must agree."""

from __future__ import annotations

from pathlib import Path

from lookalike.config import ArmConfig, read_yaml
from lookalike.errors import UserError
from pipelines.stage import ARTIFACTS

STAND_IN = ARTIFACTS / "validate" / "verdict.json"  # dvc.yaml wants a file from every arm


def added_manifest(arm: ArmConfig) -> Path | None:
    """What the filter wrote about the images that join the real ones; None where none do."""
    return None if arm.images == "none" else ARTIFACTS / "filter" / arm.images / "manifest.parquet"


def check_declared(name: str, arm: ArmConfig, pipeline: Path = Path("dvc.yaml")) -> None:
    """Refuse an arm that would train on other images than those that DVC watches for it.

    Raises:
        UserError: `dvc.yaml` names another file than `params.yaml`, or does not know the arm.
    """
    path = (added_manifest(arm) or STAND_IN).as_posix()
    arms = read_yaml(pipeline)["stages"]["train_reid"]["foreach"]
    declared = arms.get(name, {}).get("images")
    if declared != path:
        raise UserError(
            f"params.yaml gives arm {name} images: {arm.images}, for which dvc.yaml needs "
            f"`{name}: {{images: {path}}}` under train_reid, not {declared}"
        )
