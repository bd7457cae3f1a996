"""Training without DVC and MLflow: `lookalike train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike.arguments import new_weights_file, pictures_folder
from lookalike.names import PARAMS, counted

app = typer.Typer()


@app.command()
def train(
    folder: Annotated[Path, typer.Argument(callback=pictures_folder, help="Pictures of persons.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", callback=new_weights_file, help="The model to write, .safetensors."
        ),
    ],
    layout: Annotated[
        str,
        typer.Option(
            "--as",
            help="How the folder is laid out: persons (PERSON/IMAGE), market1501, dukemtmc, "
            "msmt17, csv or folders. All but the first are measured on their queries.",
        ),
    ] = "persons",
    params: Annotated[
        Path | None,
        typer.Option(
            help="Parameters, or a profile of profiles/; default: params.yaml, if it is there.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a re-ID model on a folder; killed, the same command goes on where it was.

    Of the parameters, reid, seed and evaluate count.
    """
    from lookalike.config import Config
    from lookalike.data.importing import layout_named
    from lookalike.data.layouts.persons import PERSONS
    from lookalike.profiles import read
    from lookalike.progress import say

    config = read(params or PARAMS) if params or PARAMS.is_file() else Config()
    chosen = layout_named(layout, persons=PERSONS)
    from lookalike.reid.folder_training import train_on_folder

    scores = train_on_folder(folder, output, chosen, config)
    if scores:
        rates = ", ".join(f"{name} {scores[name]:.2%}" for name in ("rank_1", "mAP", "mINP"))
        say(f"{folder}: {rates} of {counted(round(scores['queries']), 'query')}")
