"""What `make repro` says at the end, and `lookalike summary` at any time."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from lookalike.artifacts import Artifacts
from lookalike.report.results import Results, read_results
from lookalike.report.tables import arms_table, filters_table, gates_table

# What fits into 80 characters; the HTML report has every column.
ARM_COLUMNS = ("arm", "images", "synthetic", "val mAP", "rank-1", "rank-5", "mAP", "mINP")
GATE_COLUMNS = ("gate", "verdict", "reason")


def print_summary(
    artifacts: Artifacts,
    arms: Sequence[str],
    champion: int | None,
    console: Console | None = None,
) -> Results:
    """Print arms x metrics, the filters' counts, the gates, the champion, and what to do next.

    Results that are missing, or older than others, are named at the end, with the command that
    makes them.

    Args:
        artifacts: what the stages have made.
        arms: the arms of `params.yaml`, in order.
        champion: the version that the registry calls so now; None for none.
        console: where to print; standard output if not given.
    """
    console = console or Console()
    results = read_results(artifacts, arms)
    verdict = results.verdict or {}
    if results.metrics:
        table = arms_table(results.metrics, verdict.get("winner")).select(*ARM_COLUMNS)
        table.print(console, "Arms (rates in %; * chosen on validation persons)")
    for line in results.problems:
        console.print(f"[yellow]test set:[/] {escape(line)}", soft_wrap=True)
    if results.filters:
        filters_table(results.filters).print(console, "Generated images")
    if results.verdict is not None:
        gates_table(verdict["gates"]).select(*GATE_COLUMNS).print(console, "Gates")
        console.print(f"{escape(outcome(results, champion))}\n")
    for line in results.older:
        console.print(f"[yellow]older:[/] {escape(line)}", soft_wrap=True)
    for line in results.missing:
        console.print(f"[yellow]missing:[/] {escape(line)}", soft_wrap=True)
    console.print("Compare the runs in MLflow's UI:  [bold]make ui[/]")
    if champion is not None:
        console.print("Serve the champion over HTTP:     [bold]make serve[/]")
    return results


def outcome(results: Results, champion: int | None) -> str:
    """What registration decided and which version is the champion now, in words."""
    verdict = results.verdict
    if verdict is None:
        return "Nothing was registered yet."
    gates = verdict["gates"]
    passed = sum(bool(gate["passed"]) for gate in gates)
    name = verdict["model"]
    candidate = f"{name} version {verdict['version']}, from arm {verdict['winner']}"
    holder = "There is no champion."
    if champion is not None:
        holder = f"Champion: {name} version {champion}."
    elif verdict["promoted"]:
        holder += (
            " The results came without their registry (mlruns/ stays on its machine); "
            "`lookalike registry restore` registers and judges them here."
        )
    return f"{candidate}: {verdict['reason']}; {passed} of {len(gates)} gates passed. {holder}"
