"""Pins without addresses; the drivers of `lookalike[server]` change none of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pins(name: str) -> dict[str, str]:
    """Package -> line; several lines of one package (by platform) together."""
    found: dict[str, str] = {}
    for line in (ROOT / name).read_text().splitlines():
        package = re.match(r"([a-z0-9._-]+)==[\w.+]+( ; [^@]+)?$", line)
        assert package, f"{name}: {line}"
        found[package[1]] = f"{found.get(package[1], '')}{line}\n"
    return found


def test_the_server_extra_adds_drivers_and_changes_no_pin() -> None:
    ours, servers = pins("requirements.lock"), pins("requirements-server.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    drivers = {re.split(r"[\[><=]", text)[0] for text in project["optional-dependencies"]["server"]}
    assert drivers <= servers.keys()
    assert [line for package, line in servers.items() if ours.get(package, line) != line] == []
