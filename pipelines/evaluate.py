"""Stage evaluate@ARM: rank-k, mAP and mINP on the test persons, and pictures of the ranking."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pandas as pd

from lookalike.artifacts import ARTIFACTS
from lookalike.data.loading import load_images
from lookalike.data.manifest import read_manifest, test_protocol, validation_protocol
from lookalike.files import replacing, write_text
from lookalike.progress import say
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import measure, measured_ranks
from lookalike.reid.measurement import evaluation_fingerprint, per_query_frame
from lookalike.reid.pictures.evaluation import draw_evaluation, top_matches_frame
from lookalike.report.headline import arm_headline, of_part, write_headline
from lookalike.training.session import Session
from pipelines.stage import MANIFEST, Stage, chosen_arm, run


def work(stage: Stage, arm: str) -> None:
    """Measure on validation persons (to choose by) and on test persons (to report)."""
    config, session = stage.config, Session(stage.config.seed)
    trained, made = ARTIFACTS.train_reid(arm), ARTIFACTS.evaluate(arm)
    embedder = Embedder.load(
        trained.model,
        config.evaluate.batch_size,
        config.evaluate.flip,
        session.device,
    )
    manifest = read_manifest(MANIFEST)
    ranks = measured_ranks(config.evaluate.ranks)
    chosen_by = measure(embedder, validation_protocol(manifest), stage.root, config, session)
    validation = chosen_by.summary(ranks)
    test = measure(embedder, test_protocol(manifest), stage.root, config, session)
    if not session.is_main:
        return
    summary = test.summary(ranks)
    trained_on = read_manifest(trained.trained_on)
    metrics = {
        **summary,
        "per_camera": test.ranking.by_camera(ranks),
        "validation": validation,
        "train_images": len(trained_on),
        "train_persons": int(trained_on["person_id"].nunique()),
        "synthetic_images": int((trained_on["origin"] != "real").sum()),
        "problem": test.ranking.problem,  # in words; empty if every query has a match
        # Crops are decoded straight to the network's input size.
        "settings": embedder.settings
        | {"decoded_at": [embedder.model.height, embedder.model.width]},
        # Gates compare two models only where these are equal.
        "fingerprint": evaluation_fingerprint(manifest, config),
    }
    write_text(made.metrics, json.dumps(metrics, indent=2) + "\n")
    for measured, path in ((chosen_by, made.validation), (test, made.per_query)):
        ranking = measured.ranking
        per_query = per_query_frame(measured.query.rows, ranking.ap, ranking.first_match_rank)
        with replacing(path) as partial_file:
            per_query.to_parquet(partial_file, index=False)
    cmc = test.ranking.cmc
    curve = pd.DataFrame({"rank": np.arange(1, len(cmc) + 1), "cmc": cmc})
    write_text(made.cmc, curve.to_csv(index=False))

    with replacing(made.top_matches) as partial_file:
        top_matches_frame(test).to_parquet(partial_file, index=False)
    stored = config.generate.height, config.generate.width
    pictures = draw_evaluation(
        test, embedder, made, lambda rows: load_images(rows, stage.root, *stored)
    )
    for path in (made.metrics, made.cmc, *pictures):
        stage.tracker.artifact(path)
    stage.tracker.params({"evaluate": config.evaluate.model_dump(), "arm": arm})
    stage.tracker.metrics(
        summary
        | {f"validation_{key}": value for key, value in validation.items()}
        | {f"camera_{c}_rank_1": v for c, v in test.ranking.rank_1_by_camera().items()}
    )
    headline = arm_headline(summary, validation)
    write_headline(headline, made.headline)
    stage.tracker.headline(of_part(arm, headline))
    stage.dataset(test.query.rows, "query")
    say(f"{stage.name}: rank-1 {metrics['rank_1']:.1%}, mAP {metrics['mAP']:.1%}")
    if test.ranking.problem:
        say(f"{stage.name}: {test.ranking.problem}")


if __name__ == "__main__":
    arm, _ = chosen_arm()
    inputs = [ARTIFACTS.train_reid(arm).model, MANIFEST]
    run(f"evaluate@{arm}", partial(work, arm=arm), inputs)
