"""Ten decisions from this clone, begun together, each in a process of its own; says which."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import mlflow.store.model_registry.rest_store  # once here, not in each fork
import mlflow.store.tracking.rest_store
import mlflow.tracking  # noqa: F401

from lookalike.config import load_config
from lookalike.errors import UserError
from lookalike.registry.decisions import PROMOTED, UNCHANGED, Decision, History
from lookalike.registry.ledger import Ledger


def decide(number: int) -> str:
    """Promote version 1 or 2, as `Registry.promote` does whose gates pass; or roll back."""
    ledger, version = Ledger(load_config(Path("params.yaml")), Path.cwd()), number % 2 + 1

    def judge(history: History) -> Decision:
        action = UNCHANGED if history.champion == version else PROMOTED
        return ledger.decision(action, version, history.champion, version)

    def same(decision: Decision) -> bool:
        return decision.action == PROMOTED and decision.version == version

    try:
        made = ledger.rollback() if number % 5 == 4 else ledger.decide(judge, same)
    except UserError as error:
        return str(error)
    return f"{made.action} {made.version}"


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(10) as pool:
        print(json.dumps(pool.map(decide, range(10), chunksize=1)))
