"""Cameras in the order in which people count them."""

from __future__ import annotations

from lookalike.report.order import natural


def test_ten_follows_nine() -> None:
    assert sorted(["10", "9", "yard", "1"], key=natural) == ["yard", "1", "9", "10"]
