"""Checks as lists: what was looked at, its state, and below it what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

COLOURS = {"ok": "green", "verified": "green", "note": "yellow", "unverified": "yellow"}
INDENT = 4  # of details on lines of their own; the longest address fits beside it into 80 columns


@dataclass(frozen=True)
class Check:
    """What was found of one subject; those of one section follow each other."""

    section: str
    subject: str
    state: str
    detail: str


def print_checks(checks: Iterable[Check], console: Console) -> None:
    """A line each; details that do not fit stand below, wrapped between words, and only once."""
    section, told = "", dict[tuple[str, str], str]()
    for check in checks:
        if check.section != section:
            section = check.section
            console.print(Text(section, "bold"))
        head = Text("  ").append(f"{check.state:8}", COLOURS.get(check.state, "red"))
        head.append(f" {check.subject}")
        key = (check.subject, check.detail)
        detail = f"as of {told[key]}" if key in told else check.detail
        told.setdefault(key, section)
        line = head.copy().append(f"  {detail}")
        if line.cell_len <= console.width:
            console.print(line)
            continue
        console.print(head)
        console.print(Padding(Text(detail, overflow="fold"), (0, 0, 0, INDENT)))
