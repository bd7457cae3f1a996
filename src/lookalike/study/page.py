"""The page of a study: tables, two figures, and the command that made them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import PercentFormatter

from lookalike.files import write_text
from lookalike.names import BASELINE, counted
from lookalike.report.style import COLOURS, finish, new_figure
from lookalike.report.tables import NONE, Table
from lookalike.study.findings import MEASURES, Finding, chosen, share
from lookalike.study.intervals import Interval
from lookalike.study.plan import Study
from lookalike.study.trainings import Training

TITLES = {"rank_1": "rank-1", "mAP": "mAP"}
FIGURES = {  # file: what is on its x axis, and whether the persons are new
    "evidence_persons.png": ("new persons", True),
    "evidence_images.png": ("added images per real person", False),
}
TRIED = "tried.md"  # written by hand, beside the page


def write_page(
    path: Path, study: Study, trainings: Sequence[Training], findings: Sequence[Finding], how: str
) -> None:
    """Write the page, and its figures into `images/` beside it.

    Args:
        path: of the page, Markdown.
        study: what was asked for.
        trainings: all of it.
        findings: the baseline's first.
        how: the command.
    """
    folder = path.parent / "images"
    pictures = []
    for name, (label, new) in FIGURES.items():
        curves = curves_of(findings, new)
        if curves:
            draw_curves(folder / name, findings[0], curves, label)
            pictures.append(f"![{label.capitalize()}](images/{name})\n")
    best = list(chosen(findings).values())
    parts = [
        "# Evidence: do generated images help?\n",
        f"Written by\n\n    {how}\n",
        _setup(study, trainings, findings),
        "## Each arm at the amount that validation persons choose\n",
        _verdicts(best),
        findings_table(best, findings).markdown(),
        _key(),
        "## Every amount\n",
        findings_table(findings, findings).markdown(),
        *(["## By amount\n", *pictures, _bands()] if pictures else []),
        *([f"## What else was tried\n\nSee [{TRIED}]({TRIED}).\n"] if _tried(path) else []),
    ]
    write_text(path, "\n".join(parts))


def findings_table(shown: Sequence[Finding], findings: Sequence[Finding]) -> Table:
    """A row per finding; rates in percent, gains in points with their intervals.

    Args:
        shown: which ones.
        findings: all, among them the oracles.
    """
    header = ["arm", "added images", "added persons", "val mAP"]
    for measure in MEASURES:
        title = TITLES[measure]
        header += [title, f"{title} gain", "of the oracle's"]
    rows = []
    for finding in shown:
        first = finding.results[0]
        row = [finding.setting.name, f"{first.added_images:,}"]
        row += [f"{first.added_persons:,}" if first.new_persons and first.added_persons else NONE]
        row += [f"{100 * finding.validation:.1f}"]
        for measure in MEASURES:
            part = share(finding, findings, measure)
            row += [
                f"{100 * finding.mean(measure):.1f}{_spread(finding.spread(measure))}",
                NONE if finding.setting.arm == BASELINE else _points(finding.gains[measure]),
                NONE if part is None else f"{100 * part:.0f} %",
            ]
        rows.append(row)
    return Table(header, rows)


def curves_of(findings: Sequence[Finding], new_persons: bool) -> dict[str, list[Finding]]:
    """Arms measured at two amounts or more, of new persons or of real ones, by amount."""
    curves: dict[str, list[Finding]] = {}
    for finding in findings:
        fits = finding.results[0].new_persons == new_persons
        if fits and finding.setting.amount is not None:
            curves.setdefault(finding.setting.arm, []).append(finding)
    return {arm: points for arm, points in curves.items() if len(points) > 1}


def draw_curves(
    path: Path, baseline: Finding, curves: Mapping[str, Sequence[Finding]], label: str
) -> None:
    """Write a panel per measure: each arm over its amounts, from the baseline at 0 on.

    Bands are the intervals of the gain, laid around the baseline's mean: where a band does not
    touch the dashed line, the gain is clear of zero.
    """
    figure, panels = new_figure(len(MEASURES), (4.6, 3.4))
    for axes, measure in zip(panels, MEASURES, strict=True):
        level = baseline.mean(measure)
        axes.axhline(level, color="black", linestyle="--", linewidth=1, label=BASELINE)
        for turn, (arm, points) in enumerate(curves.items()):
            colour = COLOURS[turn % len(COLOURS)]
            gains = [point.gains[measure] for point in points]
            x = [0.0, *(point.amount for point in points)]
            axes.plot(
                x,
                [level, *(level + gain.mean for gain in gains)],
                color=colour,
                linestyle=":" if points[0].setting.oracle else "-",
                marker="o",
                markersize=3,
                label=arm,
            )
            low = [level, *(level + gain.low for gain in gains)]
            high = [level, *(level + gain.high for gain in gains)]
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.set(xlabel=label, title=TITLES[measure])
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize="small", frameon=False)
    finish(figure, panels, path)


def _setup(study: Study, trainings: Sequence[Training], findings: Sequence[Finding]) -> str:
    first = next(training for training in trainings if training.setting.arm == BASELINE)
    rows, (query, gallery) = first.rows, first.measured.test
    reid, baseline = study.reid, findings[0].results
    everything = [result for finding in findings for result in finding.results]
    commits = sorted({result.commit[:12] for result in everything})
    seconds = sum(result.seconds for result in everything) / len(everything)
    accuracy = sum(result.accuracy for result in baseline) / len(baseline)
    taken = {t.setting.name: round(t.images / reid.batch_size) for t in trainings}
    steps = ", ".join(f"{name} {number:,}" for name, number in taken.items())
    start = "random weights" if reid.weights == "none" else reid.weights
    return (
        f"The real images are {len(rows):,} of {rows['person_id'].nunique()} persons. Each model "
        f"is trained for {reid.epochs} epochs from {start} at {reid.height}x{reid.width}, and its "
        f"last weights are measured on {len(query):,} queries of {query['person_id'].nunique()} "
        f"test persons in a gallery of {len(gallery):,} images. In its last steps the "
        f"baseline classifies {accuracy:.1%} of its training images correctly. There are "
        f"{counted(len(study.seeds), 'seed')} of this training; the generated images are those of "
        "one generator. Test persons choose nothing.\n\n"
        f"Steps: {steps}. An arm with a `batch_share` takes the baseline's and sees each real "
        "image as often as it does; its generated images stand beside those.\n\n"
        f"{counted(len(everything), 'training')} of {seconds:.0f} s on one thread; code: "
        f"{', '.join(commits)}.\n"
    )


def _verdicts(best: Sequence[Finding]) -> str:
    lines = []
    for finding in best:
        if finding.setting.arm == BASELINE:
            continue
        said = [
            f"{TITLES[measure]} {_points(gain)} points ({_verdict(gain)})"
            for measure, gain in finding.gains.items()
        ]
        lines.append(f"- **{finding.setting.name}**: {'; '.join(said)}\n")
    return "".join(lines)


def _verdict(gain: Interval) -> str:
    if not gain.clear:
        return "not clear of zero"
    return "better" if gain.mean > 0 else "worse"


def _key() -> str:
    return (
        "Rates are in percent: the mean over seeds ± the standard deviation over seeds. Gains are "
        "in points over the baseline under the same seeds, with 95 % intervals of a paired "
        "bootstrap over persons and seeds. An *oracle* arm has rendered images in place of "
        "generated ones; of the oracle's gain a share is given where that gain is clear of zero.\n"
    )


def _bands() -> str:
    return (
        "Bands are 95 % intervals of the gain, around the baseline's mean (dashed). Dotted curves "
        "are oracles.\n"
    )


def _tried(path: Path) -> bool:
    return (path.parent / TRIED).is_file()


def _points(gain: Interval) -> str:
    low, high = (f"{100 * edge:+.1f}" for edge in (gain.low, gain.high))
    return f"{100 * gain.mean:+.1f} [{low}, {high}]"


def _spread(value: float) -> str:
    return "" if math.isnan(value) else f" ± {100 * value:.1f}"
