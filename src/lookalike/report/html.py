"""One HTML file with everything that a pipeline showed: no server, no scripts, no other files."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

import numpy as np

from lookalike.artifacts import Artifacts
from lookalike.data.decoding import decode
from lookalike.data.loading import encode_jpeg
from lookalike.files import write_text
from lookalike.report.overview import draw_overview
from lookalike.report.results import read_results
from lookalike.report.sections import read_sections
from lookalike.report.summary import outcome
from lookalike.report.tables import arms_table, cameras_table, filters_table, gates_table

LARGEST_PNG = (
    256 * 1024
)  # bytes; sheets of crops above it are embedded as JPEG, a fifth of the size
JPEG_QUALITY = 88

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1e1e1e; margin: 2em auto; max-width: 76em;
       padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: left; }
/* Numbers stay side by side and scroll; sentences wrap, and on a phone stand below each other. */
.table { overflow-x: auto; }
.texts td { overflow-wrap: anywhere; }
.texts td:first-child { overflow-wrap: normal; }
@media (max-width: 48em) {
  .texts thead { display: none; }
  .texts tr { display: block; padding: .4em 0; border-bottom: 1px solid #ddd; }
  .texts td { display: block; padding: 0; border: 0; text-align: left; }
  .texts td:first-child { font-weight: bold; }
  .texts td + td::before { content: attr(data-label) ": "; color: #666; font-weight: normal; }
}
.number { text-align: right; font-variant-numeric: tabular-nums; }
.passed { color: #22963c; } .failed { color: #cd232d; font-weight: bold; }
figure { margin: 1.5em 0; } img { max-width: 100%; } figcaption { color: #666; }
pre { background: #f6f6f6; padding: 1em; overflow-x: auto; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$outcome</p>
$incomplete
<h2>Arms</h2>
<p>Rates in percent. The validation columns choose the winner (*): the baseline, unless another arm
is shown to be better there. The others are measured on the test queries.</p>
$problems$arms
<h2>Cameras</h2>
$cameras
<h2>Gates</h2>
$gates
<h2>Generated images</h2>
$filters
$sections
<h2>Parameters</h2>
<pre>$parameters</pre>
</body>
</html>
""")


def write_report(
    artifacts: Artifacts,
    path: Path,
    *,
    arms: Sequence[str],
    champion: int | None,
    parameters: str,
    title: str = "lookalike",
) -> None:
    """Write the report of everything under `artifacts`; results that are missing are named.

    The pictures, embedded as base64, are curves of the stages' tables and what the stages drew, as
    `lookalike.report.sections` orders it; large PNG files become JPEG. The same artifacts give the
    same bytes.

    Args:
        artifacts: what the stages have made.
        path: the HTML file.
        arms: the arms of `params.yaml`, in order.
        champion: the version that the registry calls so now; None for none.
        parameters: the text of `params.yaml`.
        title: the page's heading.
    """
    results = read_results(artifacts, arms)
    verdict = results.verdict or {}
    page = PAGE.substitute(
        title=escape(title),
        outcome=escape(outcome(results, champion)),
        incomplete=_listed("Missing", results.missing) + _listed("Older", results.older),
        problems="".join(f"<p>Test set: {escape(line)}.</p>\n" for line in results.problems),
        arms=arms_table(results.metrics, verdict.get("winner")).html(),
        cameras=cameras_table(results.metrics).html(),
        filters=filters_table(results.filters).html(),
        gates=gates_table(verdict.get("gates", [])).html(),
        sections=_sections(artifacts, arms),
        parameters=escape(parameters),
    )
    write_text(path, page)


def _listed(heading: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>\n" for line in lines)
    return f"<p>{heading}:</p>\n<ul>{items}</ul>\n" if items else ""


def _sections(artifacts: Artifacts, arms: Sequence[str]) -> str:
    """The pictures; those that are drawn for this page alone are gone afterwards."""
    parts = []
    with TemporaryDirectory() as scratch:
        draw_overview(artifacts, arms, Path(scratch))
        for section in read_sections(artifacts, Path(scratch), arms):
            parts.append(f"<h2>{escape(section.heading)}</h2>\n")
            parts += [_figure(file, caption) for file, caption in section.pictures]
    return "".join(parts)


def _figure(file: Path, caption: str) -> str:
    content, kind = file.read_bytes(), "png" if file.suffix == ".png" else "jpeg"
    if kind == "png" and len(content) > LARGEST_PNG:
        content, kind = encode_jpeg(np.asarray(decode(content, file.name)), JPEG_QUALITY), "jpeg"
    data, text = b64encode(content).decode(), escape(caption)
    return (
        f'<figure><img alt="{escape(file.name)}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>\n"
    )
