"""`lookalike data`: render pedestrians, or bring in data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike.arguments import any_folder
from lookalike.errors import UserError
from lookalike.names import PARAMS, counted
from lookalike.programs import run_program

app = typer.Typer(no_args_is_help=True, help="Pedestrians: render them, or import data sets.")

DATA_FILE = Path("data.dvc")


@app.command("render")
def data_render(
    output: Annotated[Path, typer.Option(callback=any_folder, help="Folder to write to.")] = Path(
        "data"
    ),
    seed: Annotated[int | None, typer.Option(min=0, help="Other seeds give other persons.")] = None,
    train_persons: Annotated[int | None, typer.Option(min=1)] = None,
    test_persons: Annotated[int | None, typer.Option(min=1)] = None,
    images_per_person: Annotated[int | None, typer.Option(min=4, help="Mean.")] = None,
    distractors: Annotated[int | None, typer.Option(min=0)] = None,
    junk: Annotated[int | None, typer.Option(min=0)] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core.")] = None,
) -> None:
    """Render pedestrians in Market-1501's layout; the same bytes on every machine.

    What is not given comes from data.rendered in params.yaml. The folder that data.dvc describes
    is checked against it afterwards.
    """
    from lookalike.config import RenderedConfig, checked, load_config
    from lookalike.progress import say

    config = load_config(PARAMS).data if PARAMS.is_file() else None
    is_versioned = output.resolve() == Path("data").resolve()
    given = {
        "seed": seed,
        "train_persons": train_persons,
        "test_persons": test_persons,
        "images_per_person": images_per_person,
        "distractors": distractors,
        "junk": junk,
    }
    asked = any(value is not None for value in given.values())
    if is_versioned and not asked and config is not None and config.source != "rendered":
        say(f"data.source is {config.source}: nothing to render; `lookalike data import` brings it")
        return
    if config is not None and config.rendered is not None:
        given = {k: getattr(config.rendered, k) if v is None else v for k, v in given.items()}
    absent = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is None]
    if absent:
        raise UserError(f"no data.rendered in params.yaml to read from: give {', '.join(absent)}")
    size = checked(RenderedConfig, given, "data render")
    if is_versioned and DATA_FILE.is_file() and not asked and not _difference_from_versioned():
        say(f"{output} is what {DATA_FILE} describes; nothing to do")
        return
    from lookalike.data.population import render_population

    counts = render_population(
        output,
        seed=size.seed,
        train_persons=size.train_persons,
        test_persons=size.test_persons,
        images_per_person=size.images_per_person,
        distractors=size.distractors,
        junk=size.junk,
        workers=workers,
    )
    say(f"{output}: " + ", ".join(f"{kind} {number}" for kind, number in counts.items()))
    if is_versioned:
        _check_versioned(output)


def _difference_from_versioned() -> list[str]:
    """What DVC says of data/ compared with data.dvc: nothing, deleted, modified, not in cache."""
    import json

    from lookalike.progress import say

    say(f"DVC compares data/ with {DATA_FILE} ...")
    status = json.loads(run_program("dvc", "status", "--json", str(DATA_FILE)))
    return [
        change
        for entry in status.get(str(DATA_FILE), [])
        if isinstance(entry, dict)
        for change in entry.get("changed outs", {}).values()
    ]


def _check_versioned(folder: Path) -> None:
    """Compare fresh images with data.dvc, and put them into DVC's cache if they are the same."""
    from lookalike.progress import say

    if not DATA_FILE.is_file():
        say(f"not versioned yet: run `dvc add {folder}`")
        return
    changes = _difference_from_versioned()
    if any(change != "not in cache" for change in changes):
        raise UserError(
            f"{folder} differs from what {DATA_FILE} describes ({', '.join(changes)}); "
            f"if you changed data.rendered or {folder}/others on purpose, record it with "
            f"`dvc add {folder}`"
        )
    say(f"DVC reads every file of {folder}/ into its cache ...")
    run_program("dvc", "commit", "--force", str(DATA_FILE))
    say(f"{folder} is what {DATA_FILE} describes")


@app.command("import")
def data_import(
    source: Annotated[Path, typer.Argument(help="Archive (zip, tar, tar.gz) or folder.")],
    layout: Annotated[
        str, typer.Option("--as", help="market1501, dukemtmc, msmt17, csv or folders.")
    ] = "market1501",
    name: Annotated[
        str, typer.Option(help="Into data/others/NAME, beside the main data set.")
    ] = "",
    any_counts: Annotated[
        bool, typer.Option("--any-counts", help="Other sizes than the published ones.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, write nothing.")] = False,
) -> None:
    """Bring a data set into data/, check it against its published counts, version it with DVC."""
    from lookalike.data.importing import import_dataset, layout_named
    from lookalike.progress import say

    counts = import_dataset(
        source,
        Path("data"),
        layout_named(layout),
        name=name,
        any_counts=any_counts,
        dry_run=dry_run,
    )
    for split, found in counts.items():
        if found.images:
            say(f"{split}: {counted(found.images, 'image')} of {counted(found.persons, 'person')}")
    if dry_run:
        say("dry run: nothing was written")
        return
    setting = f"data.others: {{{name}: {layout}}}" if name else f"data.source: {layout}"
    if any_counts and not name:
        setting += ", data.as_published: false"
    if Path("data").is_symlink():
        say(
            "data/ is a link, behind which DVC keeps no versions: `dvc repro` works and records "
            "the digest, `dvc push` sends no picture. To keep versions on a larger disk, remove "
            "the link, run `dvc cache dir --local FOLDER` with a folder of that disk, import again"
        )
        say(f"set {setting} in params.yaml, run `dvc repro`")
        return
    say("DVC reads every file of data/ into its cache ...")
    run_program("dvc", "add", "data")
    say(f"data/ is versioned: commit data.dvc, set {setting} in params.yaml, run `dvc repro`")
