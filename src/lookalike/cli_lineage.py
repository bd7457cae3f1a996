"""Where things are from, and how to be rid of a person: `lookalike lineage` and `forget`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.artifacts import ARTIFACTS
from lookalike.errors import UserError
from lookalike.names import PARAMS, counted
from lookalike.words import meant

if TYPE_CHECKING:
    from lookalike.registry.promotion import Registry

app = typer.Typer()


@app.command()
def lineage(
    what: Annotated[str, typer.Argument(help="@champion, v3, an image's id or file, a person.")],
) -> None:
    """What made a model or an image, and which models saw an image or a person."""
    registry = _registry()  # reads the parameters before anything heavy is imported

    from lookalike.registry.lineage import Tables, of_image, of_person, of_version

    version = _version(registry, what)
    if version is not None:
        lines = of_version(registry, version, ARTIFACTS)
    else:
        tables = Tables.read(ARTIFACTS)
        is_person = tables.is_person(what)
        lines = of_person(tables, what, registry) if is_person else of_image(tables, what)
    for line in lines:
        typer.echo(line)


@app.command()
def forget(
    person: Annotated[str, typer.Argument(help="The id in the files' names, say 0002.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what, change nothing.")] = False,
) -> None:
    """Delete a person's images and retire every version that saw them; for good."""
    registry = _registry()

    from lookalike.progress import say
    from lookalike.registry.lineage import forget as carry_out
    from lookalike.registry.lineage import plan_forgetting

    plan = plan_forgetting(registry, ARTIFACTS, person)
    for file in plan.files:
        typer.echo(f"delete {file}")
    for stage, count in plan.rebuilt.items():
        typer.echo(f"rebuild {stage}: {counted(count, 'row')}")
    for version, why in plan.retired.items():
        typer.echo(f"retire {registry.name} v{version}: {why}")
    for picture in plan.pictures:
        typer.echo(f"delete {picture}")
    if dry_run:
        say("dry run: nothing was changed")
        return
    carry_out(registry, plan, person)
    say(
        f"person {person} is deleted from the data; run `git commit --all`, `dvc repro`, then "
        "`dvc gc --workspace` (with --cloud for a remote) to delete the old bytes, and start "
        "servers again"
    )
    if registry.champion() is None:
        say(registry.without_champion())


def _registry() -> Registry:
    from lookalike.config import load_config

    config = load_config(PARAMS)

    from lookalike.registry.promotion import Registry

    return Registry(config, Path.cwd())


def _version(registry: Registry, what: str) -> int | None:
    """The version that @ALIAS or vNUMBER means; None for what is neither."""
    if what.startswith("@"):
        found = {f"@{alias}": info.version for info in registry.show() for alias in info.aliases}
        if what not in found:
            raise UserError(f"no version of {registry.name} is {what}; {meant(what, found)}")
        return found[what]
    return int(what[1:]) if what.startswith("v") and what[1:].isdecimal() else None
