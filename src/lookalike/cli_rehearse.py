"""`lookalike rehearse`: a profile at its true sizes, for a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def rehearse(
    profile: Annotated[
        str | None,
        typer.Argument(
            help="See `lookalike profile list`. Default: the parameters in use, params.yaml.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a profile's stages for a few steps: do they run, and what will the real run take?

    Networks and images have their true sizes. Your data and weights take part; what is missing is
    made up, and said. Exits with 1 if a stage does not run. Logs stay in .lookalike/rehearsal/.
    """
    from lookalike.config import load_config
    from lookalike.names import PARAMS
    from lookalike.profiles import compose
    from lookalike.progress import say

    # Before PyTorch is imported.
    config = load_config(PARAMS) if profile is None else compose(profile)
    from lookalike.rehearsal.rehearse import folder_of
    from lookalike.rehearsal.rehearse import rehearse as run
    from lookalike.rehearsal.report import markdown

    found = run(config, Path())
    typer.echo(markdown(found.table), nl=False)
    for line in found.warnings:
        say(line)
    if not found.runs:
        say(f"not every stage runs; logs: {folder_of(config, Path()) / 'results'}")
        raise typer.Exit(1)
