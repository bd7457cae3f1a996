"""Tables of results: built once, shown on the terminal, in Markdown and in HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from lookalike.report.order import natural

NONE = "-"  # what a cell says where nothing was measured


@dataclass(frozen=True)
class Table:
    """Header and rows of plain text; the first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def select(self, *columns: str) -> Table:
        """Only these columns, where a terminal has no room for all."""
        kept = [self.header.index(column) for column in columns if column in self.header]
        return Table([self.header[k] for k in kept], [[row[k] for k in kept] for row in self.rows])

    def print(self, console: Console, title: str = "") -> None:
        """Show it on a terminal, with headings and numbers whole where it has room for them.

        Texts are wrapped, and so are names of rows where numbers need the room. Columns for which
        there is none follow in a table below, behind the first column again.
        """
        for widths in self._parts(console.width):
            if title:
                console.print(Text(title, "italic"))
                title = f"{title.removesuffix(CONTINUED)}{CONTINUED}"
            table = RichTable(box=box.SIMPLE_HEAD)
            for k, width in widths.items():
                justify: JustifyMethod = "right" if self._numeric(k) else "left"
                table.add_column(
                    Text(self.header[k]), width=width, overflow="fold", justify=justify
                )
            for row in self.rows:
                table.add_row(*(Text(row[k], style=_STYLES.get(row[k], "")) for k in widths))
            console.print(table)

    def _parts(self, width: int) -> list[dict[int, int]]:
        """Columns that fit beside each other with their widths, the first column in each part."""
        if not self.header:
            return []
        cells = [[name, *(row[k] for row in self.rows)] for k, name in enumerate(self.header)]
        longest = [max(map(cell_len, column)) for column in cells]
        widest = max((longest[k] for k in range(1, len(cells)) if not self._is_text(k)), default=0)
        least = min(longest[0], LEAST)
        first = {0: max(least, 1, min(longest[0], width // 2, width - 1 - 2 * SPACE - widest))}
        parts, room = [dict(first)], width - 1 - SPACE - first[0]
        left = [room]
        for k in range(1, len(self.header)):
            wanted = min(longest[k], NARROW) if self._is_text(k) else longest[k]
            if SPACE + wanted > left[-1] and len(parts[-1]) > 1:
                parts.append(dict(first))
                left.append(room)
            parts[-1][k] = max(1, min(wanted, room - SPACE))
            left[-1] -= SPACE + parts[-1][k]
        for part, spare in zip(parts, left, strict=True):
            texts = [k for k in part if k and self._is_text(k)]
            for k in texts:
                part[k] = min(longest[k], part[k] + spare // len(texts))
        return parts

    def markdown(self) -> str:
        """As a Markdown table, with a line break at the end."""
        rule = ["---:" if self._numeric(c) else "---" for c in range(len(self.header))]
        lines = [self.header, rule, *([v.replace("|", "\\|") for v in r] for r in self.rows)]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def html(self) -> str:
        """As an escaped HTML table; numbers have the class `number`, a table of texts `texts`."""

        def cell(tag: str, column: int, value: str) -> str:
            label = f' data-label="{escape(self.header[column])}"' if tag == "td" else ""
            kind = _html_class(value, self._numeric(column))
            return f"<{tag}{kind}{label}>{escape(value)}</{tag}>"

        def line(tag: str, values: Sequence[str]) -> str:
            return f"<tr>{''.join(cell(tag, c, value) for c, value in enumerate(values))}</tr>\n"

        body = "".join(line("td", row) for row in self.rows)
        texts = ' class="texts"' if any(map(self._is_text, range(len(self.header)))) else ""
        return (
            f'<div class="table">\n<table{texts}>\n<thead>{line("th", self.header)}</thead>\n'
            f"<tbody>{body}</tbody>\n</table>\n</div>\n"
        )

    def _is_text(self, column: int) -> bool:
        return any(len(row[column]) > LONG for row in self.rows)

    def _numeric(self, column: int) -> bool:
        values = [row[column] for row in self.rows if row[column] != NONE]
        return bool(values) and all(_NUMBER.fullmatch(value) for value in values)


LONG = 32  # characters of a cell that is a text to read, not a number or a name
LEAST = 6  # to which names of rows are wrapped, if numbers need the room
NARROW = 24  # to which such a text is wrapped, if need be
SPACE = 3  # columns of a terminal between two columns of a table
CONTINUED = " (continued)"
_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?( %)?|nan|-?inf")
_STYLES = {"passed": "green", "failed": "bold red"}


def _html_class(value: str, numeric: bool) -> str:
    if value in _STYLES:
        return f' class="{value}"'
    return ' class="number"' if numeric else ""


def arms_table(metrics: Mapping[str, Mapping[str, Any]], winner: str | None = None) -> Table:
    """Arms x metrics; rates in percent.

    The validation columns choose the winner (marked with *): the baseline, unless another arm is
    shown to be better. The others are measured on the test queries.

    Args:
        metrics: arm -> the content of its `metrics.json` (fractions of 1).
        winner: the arm that was chosen.
    """
    ranks = sorted({int(k[5:]) for m in metrics.values() for k in m if k.startswith("rank_")})
    rates = [f"rank_{k}" for k in ranks] + ["mAP", "mAP_trapezoidal", "mINP"]
    header = ["arm", "images", "synthetic", "persons", "val rank-1", "val mAP"]
    header += [rate.replace("rank_", "rank-").replace("_", " ") for rate in rates]
    rows = []
    for arm, measured in metrics.items():
        validation = measured.get("validation", {})
        row = [f"{arm} *" if arm == winner else arm]
        row += [_count(measured.get(key)) for key in _COUNTS]
        row += [_percent(validation.get(key)) for key in ("rank_1", "mAP")]
        rows.append(row + [_percent(measured.get(rate)) for rate in rates])
    return Table(header, rows)


_COUNTS = ("train_images", "synthetic_images", "train_persons")


def cameras_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    """Rank-1 of each arm per camera of the query, in percent."""
    cameras = sorted({c for m in metrics.values() for c in m.get("per_camera", {})}, key=natural)
    rows = [
        [arm, *(_percent(m.get("per_camera", {}).get(c, {}).get("rank_1")) for c in cameras)]
        for arm, m in metrics.items()
    ]
    return Table(["rank-1", *(f"camera {c}" for c in cameras)], rows)


def filters_table(filters: Mapping[str, Mapping[str, int]]) -> Table:
    """How many generated images of each kind were kept, and why the others were not.

    Args:
        filters: kind -> "kept" or the reason of rejection -> number of images; reasons in the
            order of the filters, of which a kind may meet others than the next.
    """
    reasons = _one_order([name for name in counts if name != "kept"] for counts in filters.values())
    rows = []
    for kind, counts in filters.items():
        total, kept = sum(counts.values()), counts.get("kept", 0)
        row = [kind, _count(total), _count(kept), _percent(kept / total if total else None)]
        rows.append(row + [_count(counts.get(reason, 0)) for reason in reasons])
    return Table(["kind", "generated", "kept", "kept %", *reasons], rows)


def _one_order(lists: Iterable[Sequence[str]]) -> list[str]:
    """The names of all lists, those that only one has behind what comes before them there."""
    merged: list[str] = []
    for names in lists:
        place = 0
        for name in names:
            if name not in merged:
                merged.insert(place, name)
            place = merged.index(name) + 1
    return merged


def gates_table(gates: Sequence[Mapping[str, Any]]) -> Table:
    """Every gate with what was measured, what was asked for, and the reason."""
    rows = [
        [
            str(gate["name"]),
            "passed" if gate["passed"] else "failed",
            _value(gate.get("value")),
            _value(gate.get("bound")),
            str(gate.get("reason", "")),
        ]
        for gate in gates
    ]
    return Table(["gate", "verdict", "value", "bound", "reason"], rows)


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}"


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _value(value: object) -> str:
    if value is None:
        return NONE
    if isinstance(value, list | tuple):
        return " to ".join(_value(part) for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
