"""The winner of a pipeline becomes a version and is judged: in stage register, or in a clone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from lookalike.artifacts import Artifacts
from lookalike.config import Config
from lookalike.data.loading import load_images, read_bytes
from lookalike.data.manifest import read_manifest, test_protocol
from lookalike.device import default_device
from lookalike.progress import say
from lookalike.registry.candidate import Choice, choose, collect
from lookalike.registry.decisions import Decision
from lookalike.registry.drift import Reference
from lookalike.registry.evidence import Evidence
from lookalike.registry.paired import CONFIDENCE
from lookalike.registry.promotion import Registry
from lookalike.registry.remeasure import remeasure
from lookalike.registry.verdict import Gate
from lookalike.reid.embedder import Embedder
from lookalike.report.headline import read_headline
from lookalike.spread import spread
from lookalike.tracking import MlflowTracker

PICTURES = 4  # test images that the serving gate sends
KNOWN = 2048  # validation images that a server compares with


@dataclass(frozen=True)
class Judgement:
    """What came of it.

    Attributes:
        choice: the winner on validation persons, and how the other arms did.
        model, version: what it was registered as.
        evidence, decision: what is known about it, and what the gates made of that.
    """

    choice: Choice
    model: str
    version: int
    evidence: Evidence
    decision: Decision

    @property
    def failed(self) -> list[Gate]:
        """The gates that speak against it."""
        return [gate for gate in self.decision.gates if not gate.passed]

    @property
    def reason(self) -> str:
        """In words: what was done, or the gates that failed."""
        names = ", ".join(gate.name for gate in self.failed)
        return f"failed: {names}" if names else self.decision.action


def judge_winner(
    artifacts: Artifacts,
    root: Path,
    config: Config,
    tracker: MlflowTracker,
    *,
    dry_run: bool = False,
) -> Judgement:
    """Register the winner, run every gate, and promote it if all pass.

    Args:
        artifacts: what the stages have made, where `dvc.lock` says.
        root: the repository, with `dvc.lock`; the working directory.
        config: the arms, and the gates' bounds.
        tracker: the run that registers.
        dry_run: register, judge, and promote nothing.
    """
    manifest = artifacts.validate.manifest
    margin = config.gates.baseline_margin
    choice = choose(artifacts, list(config.arms), margin)
    for name, standing in choice.standings.items():
        if not standing.eligible:
            say(
                f"register: {name} is not shown to beat the baseline: mAP {standing.mAP:.1%} on "
                f"validation persons, with {CONFIDENCE:.0%} confidence {100 * standing.lower:+.1f} "
                f"points or more, above {100 * margin:+g} is asked for"
            )
    arm = choice.winner
    evidence = collect(artifacts, arm, root, config, tracker.status_of)
    rows = read_manifest(manifest)
    query, _ = test_protocol(rows)
    shown = query.iloc[spread(len(query), PICTURES)]  # neighbours show one person
    pictures = list(read_bytes(shown, root))
    registry = Registry(config, root)
    weights = artifacts.train_reid(arm).model
    known = partial(validation_reference, weights, rows[rows["split"] == "val"], root, config)
    version = registry.register(tracker, arm, weights, evidence, pictures, known)
    measure = remeasure(config, manifest, root)
    decision = registry.promote(version, dry_run=dry_run, remeasure=measure)
    # Of all stages, those too whose outputs DVC had and did not make again.
    tracker.headline(read_headline(artifacts, list(config.arms)))
    return Judgement(choice, registry.name, version, evidence, decision)


def validation_reference(
    weights: Path, rows: pd.DataFrame, root: Path, config: Config
) -> Reference:
    """What the embeddings of validation persons look like, flip averaging as evaluated.

    Args:
        weights: of `reid.model.save_reid`.
        rows: the validation split's.
        root: the repository.
        config: `evaluate`.
    """
    shown = rows.iloc[spread(len(rows), KNOWN)]
    settings = config.evaluate
    embedder = Embedder.load(weights, settings.batch_size, settings.flip, default_device())
    images = load_images(shown, root, embedder.model.height, embedder.model.width)
    return Reference.of(embedder.embed(images), shown["camera_id"].tolist())
