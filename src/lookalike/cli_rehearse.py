"""`lookalike rehearse`: a profile at its true sizes, for a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def rehearse(
    profile: Annotated[str, typer.Argument(help="See `lookalike profile list`.")],
) -> None:
    """Run a profile's stages for a few steps: do they run, and what will the real run take?

    Networks and images have their true sizes. What is missing is made up, and said. Exits with 1
    if a stage does not run. Logs stay in .lookalike/rehearsal/.
    """
    from lookalike.profiles import compose
    from lookalike.progress import say

    config = compose(profile)  # before PyTorch is imported
    from lookalike.rehearsal.rehearse import FOLDER
    from lookalike.rehearsal.rehearse import rehearse as run
    from lookalike.rehearsal.report import markdown

    found = run(profile, config, Path())
    typer.echo(markdown(found.table), nl=False)
    for line in found.missing:
        say(line)
    if not found.runs:
        say(f"not every stage runs; logs: {FOLDER / profile / 'results'}")
        raise typer.Exit(1)
