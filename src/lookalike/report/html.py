"""One HTML file with everything that a pipeline showed: no server, no scripts, no other files."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from lookalike.report.overview import draw_overview
from lookalike.report.results import read_results
from lookalike.report.summary import outcome
from lookalike.report.tables import arms_table, cameras_table, filters_table, gates_table

MIME = {".png": "image/png", ".jpg": "image/jpeg"}

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1e1e1e; margin: 2em auto; max-width: 76em;
       padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: left; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.passed { color: #22963c; } .failed { color: #cd232d; font-weight: bold; }
figure { margin: 1.5em 0; } img { max-width: 100%; } figcaption { color: #666; }
pre { background: #f6f6f6; padding: 1em; overflow-x: auto; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$outcome</p>
$missing
<h2>Arms</h2>
<p>Rates in percent. The validation columns choose the winner (*); the others are measured on the
test queries.</p>
$problems$arms
<h2>Cameras</h2>
$cameras
<h2>Generated images</h2>
$filters
<h2>Gates</h2>
$gates
$figures
<h2>Parameters</h2>
<pre>$parameters</pre>
</body>
</html>
""")


def write_report(
    artifacts: Path,
    path: Path,
    *,
    arms: Sequence[str],
    champion: int | None,
    parameters: str,
    title: str = "lookalike",
) -> None:
    """Write the report of everything under `artifacts`; results that are missing are named.

    The figures, embedded as base64, are curves of the stages' tables and all `.png` and `.jpg`
    files that the stages wrote, except those of the Data Docs. The same artifacts give the same
    bytes.

    Args:
        artifacts: the folder that the stages write to.
        path: the HTML file.
        arms: the arms of `params.yaml`, in order.
        champion: the version that the registry calls so now; None for none.
        parameters: the text of `params.yaml`.
        title: the page's heading.
    """
    results = read_results(artifacts, arms)
    verdict = results.verdict or {}
    missing = "".join(f"<li>{escape(line)}</li>\n" for line in results.missing)
    page = PAGE.substitute(
        title=escape(title),
        outcome=escape(outcome(results, champion)),
        missing=f"<p>Missing:</p>\n<ul>{missing}</ul>" if missing else "",
        problems="".join(f"<p>Test set: {escape(line)}.</p>\n" for line in results.problems),
        arms=arms_table(results.metrics, verdict.get("winner")).html(),
        cameras=cameras_table(results.metrics).html(),
        filters=filters_table(results.filters).html(),
        gates=gates_table(verdict.get("gates", [])).html(),
        figures="".join([*_overview(artifacts), *_figures(artifacts)]),
        parameters=escape(parameters),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _overview(artifacts: Path) -> Iterator[str]:
    """Curves of the stages' tables, drawn for this page alone."""
    with TemporaryDirectory() as scratch:
        draw_overview(artifacts, Path(scratch))
        for file in sorted(Path(scratch).iterdir()):
            yield _figure(file)


def _figures(artifacts: Path) -> Iterator[str]:
    """A section per folder that holds figures, in the order of the paths."""
    docs = artifacts / "validate" / "docs"
    files = [
        file
        for file in sorted(artifacts.rglob("*"))
        if file.suffix in MIME and not file.is_relative_to(docs)
    ]
    for folder, figures in groupby(files, lambda file: file.parent):
        yield f"<h2>{escape(folder.relative_to(artifacts).as_posix())}</h2>\n"
        yield from map(_figure, figures)


def _figure(file: Path) -> str:
    data, name = b64encode(file.read_bytes()).decode(), escape(file.name)
    return (
        f'<figure><img alt="{name}" src="data:{MIME[file.suffix]};base64,{data}">'
        f"<figcaption>{name}</figcaption></figure>\n"
    )
