"""What the pipeline has measured, read back from its artifacts; what is missing is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.artifacts import Artifacts
from lookalike.config import KINDS
from lookalike.data.scores import read_scores, reasons
from lookalike.errors import UserError
from lookalike.report.older import older_results, older_verdict


@dataclass(frozen=True)
class Results:
    """Outcome of one pipeline.

    Attributes:
        metrics: arm -> its `metrics.json`; fractions of 1.
        filters: kind of generated image -> "kept" or reason -> number of images; reasons in the
            order in which images met them.
        verdict: `register/verdict.json`, or None.
        missing: one line per result that is not there, and why.
        problems: what is wrong with the test set, in words; mostly empty.
        older: a line for results that do not belong to the others, since not every stage has run.
    """

    metrics: dict[str, dict[str, Any]]
    filters: dict[str, dict[str, int]]
    verdict: dict[str, Any] | None
    missing: list[str]
    problems: list[str]
    older: list[str]


def read_results(artifacts: Artifacts, arms: Sequence[str]) -> Results:
    """Read everything under `artifacts` that the summary and the report show.

    Args:
        artifacts: what the stages have made.
        arms: names of the arms that should be there, in the order of the tables.
    """
    missing: list[str] = []
    metrics = {}
    for arm in arms:
        found = _read_json(artifacts.evaluate(arm).metrics, missing)
        if found is not None:
            metrics[arm] = found
    filters: dict[str, dict[str, int]] = {}
    for kind in KINDS:
        try:
            scores = read_scores(artifacts.filter(kind).scores)
        except UserError as error:
            missing.append(str(error))
            continue
        counts = scores["reason"].value_counts()
        filters[kind] = {"kept": int(counts.get("", 0))}
        filters[kind] |= {reason: int(counts[reason]) for reason in reasons(scores)}
    verdict = _read_json(artifacts.register.verdict, missing)
    # The arms share the test set, and so what is wrong with it.
    problems = sorted({str(one["problem"]) for one in metrics.values() if one.get("problem")})
    older = older_results(artifacts, metrics, filters) + older_verdict(verdict or {}, metrics)
    return Results(metrics, filters, verdict, missing, problems, older)


def _read_json(path: Path, missing: list[str]) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        missing.append(f"no {path}; run `dvc repro` to make it")
        return None
    except ValueError as error:
        missing.append(f"{path} is not JSON ({error}); delete it and run `dvc repro`")
        return None
    assert isinstance(found, dict), path
    return found
