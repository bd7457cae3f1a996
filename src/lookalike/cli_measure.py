"""Measuring what came from elsewhere: `lookalike evaluate` and `distance`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.arguments import (
    chosen_model,
    compared_folder,
    completing,
    features_file,
    new_file,
    refuse_overwriting,
    word_of,
)
from lookalike.names import counted

if TYPE_CHECKING:
    from lookalike.metrics.features import FeatureExtractor, ReidFeatures

app = typer.Typer()

CACHE = Path(".lookalike/cache")


# Feature spaces of `lookalike distance`.
EFFICIENTNET, INCEPTION, REID = SPACES = ("efficientnet-lite2", "inception", "reid")


@app.command()
def evaluate(
    features: Annotated[
        Path,
        typer.Argument(
            callback=features_file,
            help="An npz file of any framework: query, gallery (a row of features per image), "
            "query_persons, gallery_persons, query_cameras, gallery_cameras; person -1 is junk.",
        ),
    ],
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Also rank by k-reciprocal neighbours.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", callback=new_file, help="Also write the numbers there, as JSON."),
    ] = None,
) -> None:
    """Rank-1, 5, 10, mAP and mINP of features that were computed elsewhere."""
    if output is not None:
        refuse_overwriting(output, features)
    from rich.console import Console

    from lookalike.files import write_text
    from lookalike.progress import say
    from lookalike.reid.foreign import FeatureFile
    from lookalike.report.tables import Table

    ranking, again = FeatureFile.load(features).rank(rerank_too=rerank)
    results = {"cosine": ranking.summary()}
    if again is not None:
        results["reranked"] = again.summary()
    columns = ("ranked by", "rank-1", "rank-5", "rank-10", "mAP", "mAP trapezoidal", "mINP")
    shown = ("rank_1", "rank_5", "rank_10", "mAP", "mAP_trapezoidal", "mINP")
    rows = [
        [name, *(f"{100 * found[metric]:.2f}" for metric in shown)]
        for name, found in results.items()
    ]
    Table(columns, rows).print(Console())
    found = results["cosine"]
    queries = counted(round(found["queries"]), "query")
    say(f"{queries}, {found['invalid_queries']:.0f} without a match")
    if ranking.problem:
        say(ranking.problem)
    if output is not None:
        write_text(output, json.dumps(results, indent=1) + "\n")


@app.command()
def distance(
    real: Annotated[
        Path, typer.Argument(callback=compared_folder, help="The folder to compare with.")
    ],
    other: Annotated[
        Path,
        typer.Argument(
            callback=compared_folder, help="The folder to measure, say generated pictures."
        ),
    ],
    features: Annotated[
        str,
        typer.Option(
            parser=word_of("--features", SPACES),
            autocompletion=completing(SPACES),
            metavar=f"[{'|'.join(SPACES)}]",
            help="Feature space; the distances are called after it.",
        ),
    ] = EFFICIENTNET,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            callback=chosen_model,
            help="Of reid: @champion, a version, or a file of weights.",
        ),
    ] = "@champion",
) -> None:
    """Fréchet and kernel distance, precision and recall between the pictures of two folders."""
    from rich.console import Console

    from lookalike.report.tables import Table

    extractor = _extractor(features, model)
    from lookalike.metrics.folders import compare_folders

    distances, counts = compare_folders(real, other, extractor, CACHE)
    rows = [[name, f"{value:.4f}"] for name, value in distances.items()]
    Table(("measure", "value"), rows).print(Console())
    pictures = counted(counts["other"], "picture")
    typer.echo(f"{pictures} in {other} against {counts['real']:,} in {real}")


def _extractor(space: str, model: str) -> FeatureExtractor:
    if space == REID:
        return _reid(model)
    if space == INCEPTION:
        from lookalike.weights import find

        weights = find("inception-2015", Path.cwd())
        from lookalike.device import default_device
        from lookalike.metrics.features import InceptionFeatures

        return InceptionFeatures(weights, device=default_device())
    from lookalike.device import default_device
    from lookalike.metrics.imagenet import ImagenetFeatures

    return ImagenetFeatures(device=default_device())


def _reid(model: str) -> ReidFeatures:
    from lookalike.config import load_config
    from lookalike.names import PARAMS
    from lookalike.registry.chosen import choose_model

    chosen = choose_model(load_config(PARAMS), Path.cwd(), model, accelerated=True)
    from lookalike.metrics.features import ReidFeatures

    flip = " flip" if chosen.embedder.flip else ""  # statistics are kept under this digest
    return ReidFeatures(chosen.embedder, f"{chosen.digest}{flip}")
