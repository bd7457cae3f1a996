"""Measure an earlier champion on today's test data, so that gates compare like with like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lookalike.config import Config
from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest, test_protocol
from lookalike.registry.evidence import Evaluation, evaluation_fingerprint, per_query_frame
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Side, evaluate


def remeasure(config: Config, manifest: Path, root: Path) -> Callable[[Path], Evaluation]:
    """A function from a file of re-ID weights to its evaluation on the manifest's test split."""

    def measure(weights: Path) -> Evaluation:
        rows = read_manifest(manifest)
        size = (config.generate.height, config.generate.width)
        query, gallery = (
            Side(side, load_images(side, root, *size, description="decode test"))
            for side in test_protocol(rows)
        )
        embedder = Embedder.load(weights, config.evaluate.batch_size, config.evaluate.flip)
        ranking = evaluate(embedder, query, gallery).ranking
        return Evaluation(
            evaluation_fingerprint(rows, config.evaluate),
            ranking.summary(config.evaluate.ranks),
            per_query_frame(query.rows, ranking.ap, ranking.first_match_rank),
        )

    return measure
