"""`lookalike latents`: pictures of what a generator has learnt, each with its provenance."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lookalike.arguments import any_folder, completing, parse_seeds, weights_file, word_of
from lookalike.artifacts import ARTIFACTS
from lookalike.errors import UserError

if TYPE_CHECKING:
    from lookalike.config import Group

app = typer.Typer(no_args_is_help=True, help="Seeds, style mixing, interpolation and motion.")


GROUPS = ("coarse", "medium", "fine", "structure", "camera", "appearance")  # config.Group's


def finite(value: float | None) -> float | None:
    """The callback of options that take a number, or nothing."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number")
    return value


Seeds = Annotated[str, typer.Argument(help="Seeds and ranges, ends included: 0-15,42.")]
Output = Annotated[Path, typer.Option("--output", callback=any_folder, help="Folder to write to.")]
GeneratorFile = Annotated[Path, typer.Option("--generator", help="Trained generator.")]
Psi = Annotated[
    float,
    typer.Option(
        min=0, max=2, callback=finite, help="Truncation: 1 is none, 0 the mean person for all."
    ),
]
ClassName = Annotated[
    str, typer.Option("--class", help="Of a conditional generator; default: each seed draws one.")
]
GENERATOR = ARTIFACTS.train_gan.generator
MODEL = ARTIFACTS.baseline.model
PSI = 0.8


@app.command()
def seeds(
    seeds: Seeds,
    output: Output,
    psi: Psi = PSI,
    name: ClassName = "",
    generator: GeneratorFile = GENERATOR,
) -> None:
    """A picture per seed, and a contact sheet."""
    wanted = parse_seeds(seeds)
    weights_file(generator)
    from lookalike.synthesis.album import Album
    from lookalike.synthesis.explore import draw_seeds

    draw_seeds(Album(generator, output, "seeds", name), wanted, psi)


@app.command()
def mix(
    rows: Annotated[str, typer.Option(help="Seeds of the rows: 0-3,8.")],
    columns: Annotated[str, typer.Option(help="Seeds of the columns.")],
    output: Output,
    group: Annotated[
        list[str] | None,
        typer.Option(
            parser=word_of("--group", GROUPS),
            autocompletion=completing(GROUPS),
            metavar=f"[{'|'.join(GROUPS)}]",
            help="Styles from the column; default: each group.",
        ),
    ] = None,
    psi: Psi = PSI,
    name: ClassName = "",
    generator: GeneratorFile = GENERATOR,
) -> None:
    """Grids of style mixing: the row's persons with some of the column's styles."""
    row_seeds, column_seeds = parse_seeds(rows), parse_seeds(columns)
    weights_file(generator)
    from lookalike.synthesis.album import Album
    from lookalike.synthesis.explore import draw_mixes

    groups = [cast("Group", name) for name in dict.fromkeys(group or GROUPS)]
    draw_mixes(Album(generator, output, "mix", name), row_seeds, column_seeds, groups, psi)


@app.command()
def interpolate(
    seeds: Seeds,
    output: Output,
    frames: Annotated[int, typer.Option(min=2, help="From one seed to the next.")] = 48,
    psi: Psi = PSI,
    name: ClassName = "",
    generator: GeneratorFile = GENERATOR,
) -> None:
    """From seed to seed, and back to the first: a strip and a video."""
    wanted = parse_seeds(seeds, fewest=2)
    weights_file(generator)
    from lookalike.synthesis.album import Album
    from lookalike.synthesis.explore import draw_interpolation

    draw_interpolation(Album(generator, output, "interpolate", name), wanted, psi, frames)


@app.command()
def move(
    seeds: Seeds,
    output: Output,
    x: Annotated[
        float, typer.Option(callback=finite, help="To the right; 1 is the longer side.")
    ] = 0.0,
    y: Annotated[float, typer.Option(callback=finite, help="Downwards, likewise.")] = 0.0,
    angle: Annotated[float, typer.Option(callback=finite, help="Anticlockwise, in degrees.")] = 0.0,
    frames: Annotated[int, typer.Option(min=4, help="Of the video, there and back.")] = 72,
    psi: Psi = PSI,
    name: ClassName = "",
    generator: GeneratorFile = GENERATOR,
) -> None:
    """Shift and turn persons by the generator's input transform: a strip and a video."""
    wanted = parse_seeds(seeds)
    if not (x or y or angle):
        raise UserError("nothing moves: give --x, --y or --angle")
    weights_file(generator)
    from lookalike.synthesis.album import Album, Motion
    from lookalike.synthesis.explore import draw_motion

    draw_motion(Album(generator, output, "move", name), wanted, psi, Motion(x, y, angle), frames)


@app.command()
def layers(
    output: Output,
    seeds: Annotated[str, typer.Option(help="Persons that lend each other styles.")] = "0-31",
    psi: Psi = PSI,
    name: ClassName = "",
    generator: GeneratorFile = GENERATOR,
    model: Annotated[Path, typer.Option(help="Re-ID model that says who is seen.")] = MODEL,
) -> None:
    """Measure what each layer's styles change, the person or the pixels: a figure and a CSV."""
    wanted = parse_seeds(seeds, 2)
    for file in (generator, model):
        weights_file(file)
    from lookalike.device import default_device
    from lookalike.reid.embedder import Embedder
    from lookalike.stylegan3.checkpoint import load_generator
    from lookalike.synthesis.layers import measure_layers, seeds_and_others, write_layers

    device = default_device()
    network, embedder = load_generator(generator, device), Embedder.load(model, device=device)
    ws, others = seeds_and_others(network, wanted, psi, name)
    write_layers(measure_layers(network, ws, others, embedder), output)
