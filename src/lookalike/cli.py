"""The command line. Commands import what they need when they run, so `--help` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lookalike import (
    cli_data,
    cli_deploy,
    cli_latents,
    cli_lineage,
    cli_measure,
    cli_profile,
    cli_rehearse,
    cli_servers,
    cli_study,
    cli_train,
    cli_weights,
)
from lookalike.arguments import any_folder, new_file, new_folder, parse_seeds, weights_file
from lookalike.artifacts import ARTIFACTS
from lookalike.errors import UserError
from lookalike.names import PARAMS, counted

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__.split("\n")[0])
registry_app = typer.Typer(no_args_is_help=True, help="Registered models and the champion.")
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_weights.app, name="weights")
app.add_typer(cli_profile.app, name="profile")
app.add_typer(registry_app, name="registry")
app.add_typer(cli_latents.app, name="latents")
app.add_typer(cli_deploy.app)
app.add_typer(cli_lineage.app)
app.add_typer(cli_train.app)
app.add_typer(cli_measure.app)
app.add_typer(cli_rehearse.app)
app.add_typer(cli_servers.app)
app.add_typer(cli_study.app)


def _print_version(asked: bool) -> None:
    if asked:
        import lookalike

        typer.echo(lookalike.__version__)
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show it and exit."),
    ] = False,
) -> None:
    """See the module."""


def main() -> None:
    """Entry point: errors that users can mend are one line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from lookalike.failures import last_words

        sys.exit(last_words(error, "error"))


@app.command()
def generate(
    output: Annotated[
        Path, typer.Option("--output", callback=new_folder, help="Folder to write to.")
    ],
    source: Annotated[
        Path | None, typer.Option("--input", help="Folder of pedestrian images, to vary.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="New images instead: seeds and ranges, 0-63,100.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Variations per image.")] = None,
    generator: cli_latents.GeneratorFile = cli_latents.GENERATOR,
    encoder: Annotated[
        Path | None,
        typer.Option(help="Of --input; default: the pipeline's.", show_default=False),
    ] = None,
    psi: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=2,
            callback=cli_latents.finite,
            help=f"Truncation of --seeds; {cli_latents.PSI} by default.",
            show_default=False,
        ),
    ] = None,
    name: cli_latents.ClassName = "",
) -> None:
    """Vary every image of a folder (--input), or draw new ones with a generator alone (--seeds)."""
    if (source is None) == (seeds is None):
        raise UserError("give either --input FOLDER or --seeds 0-63")
    if seeds is not None:
        if count is not None or encoder is not None:
            raise UserError("--count and --encoder go with --input, not with --seeds")
        wanted = parse_seeds(seeds)
        truncation = cli_latents.PSI if psi is None else psi
        weights_file(generator)
        from lookalike.synthesis.folder import generate_from_seeds

        generate_from_seeds(generator, wanted, output, psi=truncation, name=name)
        return
    assert source is not None
    if name:
        raise UserError("--class goes with --seeds, not with --input")
    if psi is not None:
        raise UserError(
            f"--psi goes with --seeds; --input reads generate.variations.truncation_psi of {PARAMS}"
        )
    if not source.is_dir():
        raise UserError(f"no folder at {source}; give --input a folder of images")
    from lookalike.config import load_config

    config = load_config(PARAMS).generate
    if count is not None:
        variations = config.variations.model_copy(update={"images_per_person": count})
        config = config.model_copy(update={"variations": variations})
    weights_file(generator)
    inversion = weights_file(encoder or ARTIFACTS.train_encoder.encoder)
    from lookalike.device import default_device
    from lookalike.files import sha256_file
    from lookalike.inversion.checkpoint import load_encoder
    from lookalike.stylegan3.checkpoint import load_generator
    from lookalike.synthesis.folder import generate_from_folder

    network = load_generator(generator, default_device())
    inverter = load_encoder(inversion, network)
    generate_from_folder(source, output, inverter, config, generator_digest=sha256_file(generator))


@app.command("starting-generator")
def starting_generator(
    images: Annotated[int, typer.Option(min=1, help="Images to train on.")] = 100_000,
    persons: Annotated[int, typer.Option(min=1, help="Rendered persons.")] = 900,
    images_per_person: Annotated[int, typer.Option(min=4)] = 8,
    start: Annotated[str, typer.Option(help="Checkpoint to go on from, or none.")] = "none",
    output: Annotated[Path, typer.Option(callback=new_file, help="Where to write.")] = Path(
        "starting_generator.safetensors"
    ),
) -> None:
    """Train the generator that transfer learning starts from, on persons of a seed of their own."""
    from lookalike.config import load_config

    config = load_config(PARAMS)
    if start != "none":
        weights_file(Path(start))
        from lookalike.stylegan3.checkpoint import load_generator

        load_generator(Path(start))  # rather than after all are rendered
    from lookalike.data.population import plan_crops, render_crops
    from lookalike.stylegan3.starting_generator import POPULATION_SEED, train_starting_generator

    gan = config.gan.model_copy(update={"start": start})
    crops = render_crops(POPULATION_SEED, persons, images_per_person, gan.height, gan.width)
    cameras = [shot.camera for shot in plan_crops(POPULATION_SEED, persons, images_per_person)]
    train_starting_generator(gan, crops, cameras, output, total_images=images, seed=config.seed)


@app.command("starting-pair")
def starting_pair(
    start: Annotated[Path, typer.Option(callback=weights_file, help="Generator to start from.")],
    encoder: Annotated[
        Path | None, typer.Option(help="Its encoder, to go on from; else a new one.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Images to train on.")] = 48_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the encoder and the batches.")] = 1,
    persons: Annotated[int, typer.Option(min=2, help="Rendered persons.")] = 1200,
    images_per_person: Annotated[int, typer.Option(min=4)] = 10,
    output: Annotated[Path, typer.Option(callback=any_folder, help="Folder to write to.")] = Path(
        "starting"
    ),
) -> None:
    """Train the starting generator and the starting encoder together, on persons of their own."""
    from lookalike.config import load_config

    config = load_config(PARAMS)
    if encoder is not None:
        weights_file(encoder)
    from lookalike.data.population import plan_crops, render_crops
    from lookalike.inversion.checkpoint import load_encoder
    from lookalike.inversion.starting_pair import SETTINGS, train_starting_pair
    from lookalike.stylegan3.checkpoint import load_generator
    from lookalike.stylegan3.starting_generator import POPULATION_SEED

    generator = load_generator(start)  # rather than after all are rendered
    if encoder is not None:
        load_encoder(encoder, generator)
    gan = config.gan.model_copy(update=SETTINGS | {"start": str(start)})
    crops = render_crops(POPULATION_SEED, persons, images_per_person, gan.height, gan.width)
    shots = plan_crops(POPULATION_SEED, persons, images_per_person)
    train_starting_pair(
        gan,
        crops,
        [shot.person for shot in shots],
        [shot.camera for shot in shots],
        output,
        encoder=encoder,
        total_images=images,
        seed=seed,
    )


@app.command()
def doctor() -> None:
    """What this machine and each profile have, and what they lack.

    Exits with 1 if this machine or the profile in use lacks anything; others may.
    """
    from rich.console import Console

    from lookalike.doctor import examine, section_of
    from lookalike.report.checks import print_checks

    files = [PARAMS, *sorted(Path("profiles").glob("*.yaml"))]
    rows = examine(Path(), [path for path in files if path.is_file()])
    print_checks(rows, Console())
    needed = ("machine", section_of(PARAMS))  # the other profiles may lack what they like
    raise typer.Exit(int(any(r.state == "missing" and r.section in needed for r in rows)))


@app.command()
def promote(
    version: Annotated[int, typer.Argument(help="Of the registered model.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, write nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it even if gates fail; with --reason.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Of --force; goes on record.")] = "",
) -> None:
    """Run every gate on a version and make it champion if all pass; exits with 1 if not."""
    from rich.console import Console

    from lookalike.config import load_config
    from lookalike.progress import say
    from lookalike.registry.ledger import Ledger

    if force != bool(reason.strip()):
        raise UserError("--force and --reason TEXT go together: the log says why gates were passed")
    config = load_config(PARAMS)
    Ledger(config, Path.cwd()).version(version)
    from lookalike.registry.promotion import Registry
    from lookalike.registry.remeasure import remeasure
    from lookalike.report.summary import GATE_COLUMNS
    from lookalike.report.tables import gates_table

    measure = remeasure(config, ARTIFACTS.validate.manifest, Path.cwd())
    decision = Registry(config, Path.cwd()).promote(
        version, dry_run=dry_run, by_hand=True, force=reason.strip(), remeasure=measure
    )
    if decision.gates:
        gates = gates_table([gate.as_dict() for gate in decision.gates])
        gates.select(*GATE_COLUMNS).print(Console(), "Gates")
    note = " (dry run: nothing was written)" if dry_run else ""
    say(f"version {version}: {decision.action}; champion: {decision.champion_after}{note}")
    if reason.strip() not in ("", decision.reason):
        say("nothing new was decided, so the reason is not on record")
    raise typer.Exit(int(decision.action == "refused"))


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Goes on record.")] = "",
) -> None:
    """Give the alias champion back to the champion before, and take this one out for good."""
    from lookalike.config import load_config
    from lookalike.progress import say
    from lookalike.registry.ledger import Ledger

    decision = Ledger(load_config(PARAMS), Path.cwd()).rollback(reason.strip())
    say(f"champion: version {decision.champion_after} (was {decision.champion_before})")
    if reason.strip() not in ("", decision.reason):
        say("this finished a rollback that was decided before, whose reason is on record")


@registry_app.command("show")
def registry_show() -> None:
    """Every version with its arm, its metrics and the last decision about it."""
    from rich.console import Console

    from lookalike.config import load_config
    from lookalike.progress import say
    from lookalike.registry.ledger import Ledger
    from lookalike.report.tables import Table

    ledger = Ledger(load_config(PARAMS), Path.cwd())
    columns = ("version", "arm", "rank-1", "mAP", "registered", "decision", "replaced")
    rows = []
    for info in ledger.show():
        rates = [f"{float(info.tags.get(f'lookalike.{m}', 'nan')):.1%}" for m in ("rank_1", "mAP")]
        name = " ".join([str(info.version), *info.aliases])
        created = info.created[:16].replace("T", " ")
        rows.append([name, info.arm, *rates, created, info.decision, str(info.replaced or "")])
    if rows:
        filled = [name for k, name in enumerate(columns) if any(row[k] for row in rows)]
        Table(columns, rows).select(*filled).print(Console(), ledger.name)
    if ledger.champion() is None:
        say(ledger.without_champion())


@registry_app.command("restore")
def registry_restore() -> None:
    """In a clone whose results came by `dvc pull`: register and judge what dvc.lock proves."""
    import json

    from lookalike.config import load_config
    from lookalike.programs import run_program
    from lookalike.progress import say

    config = load_config(PARAMS)
    say("DVC compares this checkout with dvc.lock ...")
    changed = json.loads(run_program("dvc", "status", "--json", "--with-deps", "register"))
    if changed:
        shown = ", ".join(sorted(changed)[:5]) + (", ..." if len(changed) > 5 else "")
        raise UserError(
            f"not as dvc.lock says: {shown}; run `dvc pull` if the results are in a DVC remote, "
            "else `dvc repro`"
        )
    from lookalike.registry.winner import judge_winner
    from lookalike.tracking import open_run

    with open_run("register", config, Path.cwd()) as tracker:
        judged = judge_winner(ARTIFACTS, Path.cwd(), config, tracker)
    say(f"{judged.model} v{judged.version} ({judged.choice.winner}): {judged.reason}")
    raise typer.Exit(int(judged.decision.action == "refused"))


@registry_app.command("verify")
def registry_verify() -> None:
    """Print the decision log and whether it is whole and unchanged; exits with 1 if not."""
    from rich.console import Console

    from lookalike.config import load_config
    from lookalike.progress import say
    from lookalike.registry.ledger import Ledger
    from lookalike.report.tables import Table

    ledger = Ledger(load_config(PARAMS), Path.cwd())
    history, problems = ledger.verify()
    columns = ("", "time", "version", "decision", "champion", "by", "reason")
    rows = []
    for entry in history.entries:
        made = entry.decision
        time = made.time[:16].replace("T", " ")
        cells = (str(made.version), made.action, str(made.champion_after or "none"), made.by)
        rows.append([str(entry.number), time, *cells, made.reason])
    Table(columns, rows).print(Console(), str(ledger.log))
    for problem in problems:
        say(f"{ledger.log}: {problem}")
    if not problems:
        waiting = "" if history.applied else "; the aliases follow with the next decision"
        void = f" and {len(history.void)} that came too late" if history.void else ""
        decisions = counted(len(history.entries), "decision")
        say(f"{decisions}{void}; nothing was changed or taken out{waiting}")
    raise typer.Exit(int(bool(problems)))


@app.command()
def method(
    page: Annotated[Path, typer.Option(help="Markdown with the lines that the table goes to.")] = (
        Path("docs/method.md")
    ),
) -> None:
    """Write the pictures and the table of docs/method.md from the last pipeline's artifacts."""
    from lookalike.config import load_config

    config = load_config(PARAMS)

    from lookalike.synthesis.method import write_method

    write_method(ARTIFACTS, Path.cwd(), config, page)


@app.command()
def summary() -> None:
    """Arms and metrics, gates, the champion, and where to look next."""
    from lookalike.config import left_out, load_config
    from lookalike.progress import say
    from lookalike.registry.ledger import Ledger

    config = load_config(PARAMS)
    from lookalike.report.html import write_report
    from lookalike.report.summary import print_summary

    arms, champion = list(config.arms), Ledger(config, Path.cwd()).champion()
    page = Path(".lookalike/report.html")
    print_summary(ARTIFACTS, arms, champion)
    write_report(ARTIFACTS, page, arms=arms, champion=champion, parameters=PARAMS.read_text())
    say(f"With all pictures: {page}")
    if lacks := left_out(PARAMS):
        say(lacks)
