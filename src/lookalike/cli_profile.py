"""`lookalike profile`: which parameters `params.yaml` holds."""

from __future__ import annotations

from typing import Annotated

import typer

from lookalike.names import PARAMS, counted

app = typer.Typer(no_args_is_help=True, help="Sets of parameters under a name: list, show, use.")
Name = Annotated[str, typer.Argument(help="See `lookalike profile list`.")]


@app.command("list")
def profile_list() -> None:
    """The profiles; a * marks what params.yaml holds."""
    from rich.console import Console
    from rich.text import Text

    from lookalike.profiles import current, edits, summary
    from lookalike.progress import say

    profiles, console = current(), Console()
    widest = max(map(len, profiles), default=0)
    for name, held in profiles.items():
        line = Text(f"{'*' if held else ' '} {name:{widest}}  {summary(name)}")
        console.print(line, no_wrap=True, overflow="ellipsis")
    if edited := edits():
        name, changes = edited
        say(
            f"{PARAMS} is {name} with {counted(len(changes), 'change')}; "
            f"`lookalike profile use {name} --dry-run` lists them"
        )


@app.command("show")
def profile_show(name: Name) -> None:
    """Print a profile whole, as `use` would write it."""
    from lookalike.profiles import compose, render

    typer.echo(render(compose(name)), nl=False)


@app.command("use")
def profile_use(
    name: Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Drop changes of params.yaml.")] = False,
) -> None:
    """Write a profile to params.yaml, whole; refuses to lose changes that are in no commit."""
    from lookalike.config import load_config, read_yaml
    from lookalike.errors import UserError
    from lookalike.profiles import compose, difference, use
    from lookalike.progress import say

    config = compose(name)
    held: dict[str, object] = {}
    try:
        load_config(PARAMS)
        held = read_yaml(PARAMS) or {}
    except UserError as error:
        say(f"now: {error}")
    changes = difference(held, config)
    if dry_run:
        for line in changes:
            say(line)
        say(f"{counted(len(changes), 'difference')} (dry run: nothing was written)")
        return
    use(config, force=force)
    say(f"{PARAMS} is the profile {name} now, {counted(len(changes), 'parameter')} changed")
    say(f"before a run that is to be promoted: git commit -m 'Use profile {name}' {PARAMS}")
