"""Which results are older than others beside them, because not every stage has run since.

A stage writes into `run.json` what it has read. Where a file is another one by now, the results
were made before it was. Times of files say nothing: DVC writes them anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lookalike.artifacts import Artifacts
from lookalike.files import sha256_file

REMEDY = "`dvc repro` brings them up to date"


def older_results(artifacts: Artifacts, arms: Iterable[str], kinds: Iterable[str]) -> list[str]:
    """A line for each file that has changed since results were made from it.

    Looked at are the models and measurements of arms and the filters of kinds, each with all that
    it was made from; of what has changed on that way, what was read last is named.
    """
    digest = cache(sha256_file)

    @cache
    def changed(stage: str) -> Path | None:
        files = _read(artifacts, stage)
        for file, before in files.items():
            if digest(file) != before:
                return file
        found = (changed(artifacts.stage_of(file)) for file in files)
        return next((file for file in found if file), None)

    shown = {f"evaluate@{arm}": f"arm {arm}" for arm in arms}
    shown |= {f"filter@{kind}": f"filtered {kind}" for kind in kinds}
    lines: dict[Path, list[str]] = {}
    for stage, name in shown.items():
        if file := changed(stage):
            lines.setdefault(file, []).append(name)
    return [
        f"{', '.join(names)}: made before {artifacts.stage_of(file)} ran last ({file} has changed "
        f"since); {REMEDY}"
        for file, names in lines.items()
    ]


def _read(artifacts: Artifacts, stage: str) -> dict[Path, str]:
    """Files of other stages that a stage has read and that are there, with their digests then."""
    try:
        inputs = json.loads((artifacts.of(stage) / "run.json").read_text())["inputs"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # it did not run to its end
    if not isinstance(inputs, dict):
        return {}
    files = {artifacts.folder.parent / name: str(digest) for name, digest in inputs.items()}
    return {
        file: before
        for file, before in files.items()
        if file.is_relative_to(artifacts.folder) and file.is_file()
    }


def older_verdict(
    verdict: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """A line if other results than those that are shown were judged.

    Args:
        verdict: `register/verdict.json`, with the mAP on validation persons that each arm had.
        metrics: arm -> its `metrics.json`.
    """
    judged = {arm: found["mAP"] for arm, found in verdict.get("validation", {}).items()}
    now = {arm: found.get("validation", {}).get("mAP") for arm, found in metrics.items()}
    others = [arm for arm in now if judged and not _same(judged.get(arm), now[arm])]
    if not others:
        return []
    return [f"gates: they judged other results of {', '.join(others)} than those shown; {REMEDY}"]


def _same(one: object, other: object) -> bool:
    """Equal, or both NaN."""
    return one == other or (one != one and other != other)
