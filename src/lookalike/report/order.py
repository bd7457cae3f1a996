"""In which order cameras stand, in tables and curves."""

from __future__ import annotations


def natural(name: str) -> tuple[int, str]:
    """Camera 10 after camera 9."""
    return (int(name) if name.isdigit() else 0, name)
