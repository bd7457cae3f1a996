"""`lookalike study`: the proof whether generated images help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike.arguments import any_folder, new_file
from lookalike.names import PARAMS

app = typer.Typer()

PAGE = Path("docs/evidence.md")


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="What to study, say evidence/study.yaml.")],
    output: Annotated[
        Path,
        typer.Option("--output", callback=any_folder, help="Folder of the results."),
    ],
    page: Annotated[
        Path,
        typer.Option(callback=new_file, help="Where to write tables and figures."),
    ] = PAGE,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Trainings at once; one per core by default.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the trainings, and how long they take.")
    ] = False,
) -> None:
    """Train arms at amounts of images with several seeds, and write what they gain.

    Every finished training is kept, so the same command goes on where it was stopped.
    """
    import os

    from lookalike.config import load_config
    from lookalike.study.plan import load_study

    config = load_config(PARAMS)
    plan = load_study(file, config)
    root = Path()  # messages name files from here

    from rich.console import Console

    from lookalike.progress import say
    from lookalike.study.estimate import estimate_table
    from lookalike.study.findings import find
    from lookalike.study.page import findings_table, write_page
    from lookalike.study.run import finished, run_study
    from lookalike.study.trainings import plan_trainings

    processes = workers or os.cpu_count() or 1
    trainings = plan_trainings(plan, config, root)
    if dry_run:
        table, total = estimate_table(trainings, finished(trainings, output), processes)
        table.print(Console())
        say(total)
        return
    run_study(trainings, output, root, processes)
    findings = find(plan.settings, finished(trainings, output))
    write_page(page, plan, trainings, findings, f"lookalike study {file} --output {output}")
    findings_table(findings, findings).print(Console())
    say(f"with intervals and figures: {page}")
