"""Measure an earlier champion on today's test data, so that gates compare like with like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lookalike.config import Config
from lookalike.data.manifest import read_manifest, test_protocol
from lookalike.device import default_device
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import measure, measured_ranks
from lookalike.reid.measurement import Measurement, evaluation_fingerprint, per_query_frame


def remeasure(config: Config, manifest: Path, root: Path) -> Callable[[Path], Measurement]:
    """A function from a file of re-ID weights to its evaluation on the manifest's test split."""

    def again(weights: Path) -> Measurement:
        rows = read_manifest(manifest)
        settings = config.evaluate
        embedder = Embedder.load(weights, settings.batch_size, settings.flip, default_device())
        found = measure(embedder, test_protocol(rows), root, config)
        return Measurement(
            evaluation_fingerprint(rows, config),
            found.summary(measured_ranks(settings.ranks)),
            per_query_frame(found.query.rows, found.ranking.ap, found.ranking.first_match_rank),
        )

    return again
