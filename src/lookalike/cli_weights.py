"""`lookalike weights`: what others publish, their checkpoints as ours, ours for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike.arguments import new_weights_file, pickle_file, weights_file

app = typer.Typer(invoke_without_command=True)


@app.callback()
def weights(context: typer.Context) -> None:
    """Weights that others publish: list, import NVIDIA's; export a generator; lists by default."""
    if context.invoked_subcommand is None:
        weights_list()


@app.command("list")
def weights_list() -> None:
    """Where each file is published, its digest, its licence, its place."""
    from rich.console import Console

    from lookalike.report.checks import Check, print_checks
    from lookalike.weights import FILES, home, status

    section = f"weights in {home(Path())}"
    found = (Check(section, e.file.name, e.state, e.advice) for e in status(FILES, Path()))
    print_checks(found, Console())


@app.command("import")
def weights_import(
    source: Annotated[
        Path, typer.Argument(callback=pickle_file, help="NVIDIA's StyleGAN3 checkpoint, a .pkl.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            callback=new_weights_file, help="Default: in the weights' home, as NAME.safetensors."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read, write nothing.")] = False,
) -> None:
    """Turn NVIDIA's pickle into safetensors, without running anything that is in it."""
    from lookalike.progress import say
    from lookalike.stylegan3.nvidia import import_checkpoint, read_checkpoint
    from lookalike.weights import NVIDIA_LICENCE, home

    if dry_run:
        say(f"{source}: {read_checkpoint(source)} (dry run: nothing was written)")
        return
    target = output or home(Path()) / f"{source.stem}.safetensors"
    say(f"{source}: {import_checkpoint(source, target, NVIDIA_LICENCE)}")
    say(f"wrote {target}, and {target.with_suffix('.json').name} beside it; {NVIDIA_LICENCE}")


@app.command("export")
def weights_export(
    source: Annotated[
        Path,
        typer.Argument(callback=weights_file, help="A checkpoint of lookalike, a .safetensors."),
    ],
    output: Annotated[
        Path, typer.Argument(callback=new_weights_file, help="The file to write, a .safetensors.")
    ],
) -> None:
    """Write a checkpoint's generator alone, with its configuration: enough to draw with."""
    from lookalike.progress import say
    from lookalike.stylegan3.checkpoint import export_generator

    licence = export_generator(source, output).get("licence")
    terms = f"; {licence}" if licence else ""
    say(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB){terms}")
