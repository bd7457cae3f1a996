import io
import re
from typing import Any

import pytest
from rich.console import Console

from lookalike.report.summary import GATE_COLUMNS
from lookalike.report.tables import Table, arms_table, cameras_table, filters_table, gates_table


def test_arms_table_gives_percent_of_every_arm_and_marks_the_winner(
    metrics: dict[str, Any],
) -> None:
    table = arms_table(metrics, winner="persons")
    assert table.header == [
        *("arm", "images", "synthetic", "persons", "val rank-1", "val mAP"),
        *("rank-1", "rank-5", "rank-10", "mAP", "mAP trapezoidal", "mINP"),
    ]
    assert table.rows[0] == [
        *("baseline", "12,936", "0", "751", "70.00", "60.00"),
        *("89.31", "95.00", "97.00", "74.26", "73.79", "40.00"),
    ]
    assert table.rows[1][0] == "persons *"


def test_what_was_not_measured_is_a_dash_not_a_zero() -> None:
    table = arms_table({"baseline": {"rank_1": 0.5}})
    assert table.rows == [["baseline", "-", "-", "-", "-", "-", "50.00", "-", "-", "-"]]


def test_cameras_stand_in_their_natural_order(metrics: dict[str, Any]) -> None:
    table = cameras_table(metrics)
    assert table.header == ["rank-1", "camera 2", "camera 10"]
    assert table.rows == [["baseline", "80.00", "90.00"], ["persons", "85.00", "-"]]


def test_filters_table_counts_reasons() -> None:
    table = filters_table({"persons": {"kept": 2, "ssim": 1, "duplicate": 1}, "variations": {}})
    assert table.header == ["kind", "generated", "kept", "kept %", "ssim", "duplicate"]
    assert table.rows[0] == ["persons", "4", "2", "50.00", "1", "1"]
    assert table.rows[1] == ["variations", "0", "0", "-", "0", "0"]


def test_filters_stand_in_the_order_in_which_images_meet_them() -> None:
    persons = dict.fromkeys(["kept", "detector", "novelty", "ssim"], 1)
    variations = dict.fromkeys(["kept", "realism", "identity", "ssim", "duplicate"], 1)
    header = filters_table({"persons": persons, "variations": variations}).header[4:]
    for met in (persons, variations):
        assert [name for name in header if name in met] == [name for name in met if name != "kept"]


def test_gates_table_shows_values_bounds_and_verdicts(verdict: dict[str, Any]) -> None:
    rows = gates_table(verdict["gates"]).rows
    assert rows[0] == ["rank_1", "passed", "0.9035", "0.2", "at least"]
    assert rows[1] == ["pass_rate", "failed", "1", "0.2 to 0.99", "<b>"]


def test_markdown_aligns_numbers_right_and_escapes_bars() -> None:
    table = Table(["name", "n"], [["a|b", "1.5"], ["c", "-"]])
    assert table.markdown() == "| name | n |\n| --- | ---: |\n| a\\|b | 1.5 |\n| c | - |\n"


def test_terminal_table_shows_text_as_it_is() -> None:
    stream = io.StringIO()
    Table(["[bold]"], [["[red]x"]]).print(Console(file=stream, width=80), "title")
    assert "[bold]" in stream.getvalue()
    assert "[red]x" in stream.getvalue()


@pytest.mark.parametrize("width", [50, 80, 200])
def test_nothing_is_cut_on_a_narrow_terminal(width: int) -> None:
    columns = [f"{name} (all)" for name in ("images", "rank-1", "mAP", "mINP", "rank-5")]
    long = "persons-from-all-cameras-at-half-weight"
    reason = "is 059f5da3d67ec72c344ae646e304daae, and the weights are others"
    rows = [[name, *(f"{k}{n},345.67" for k in range(5)), reason] for n, name in enumerate("ab")]
    rows.append([long, *(f"9{k},345.67" for k in range(5)), "as it should be"])
    stream = io.StringIO()
    Table(["arm", *columns, "reason"], rows).print(Console(file=stream, width=width), "Arms")
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    shown = [re.split(r"\s{2,}", line.strip()) for line in lines]
    cells = [cell for line in shown for cell in line]
    for row in rows:  # each number once, in a line that begins with its row's name
        for number in row[1:6]:
            (line,) = (line for line in shown if number in line)
            assert row[0].startswith(line[0]) and line[0]
    assert all(cells.count(column) == 1 for column in columns)
    assert "…" not in stream.getvalue()
    together = "".join(stream.getvalue().split())
    assert "theweightsareothers" in together or width < 200
    assert cells.count("arm") == cells.count("Arms") + cells.count("Arms (continued)")
    assert (cells.count("arm") == 1) == (width == 200)


def test_names_of_rows_make_room_for_numbers() -> None:
    stream = io.StringIO()
    table = Table(["arm", "images"], [["persons-at-half", "1,234,567.89"]])
    table.print(Console(file=stream, width=30))
    assert "1,234,567.89" in stream.getvalue() and "…" not in stream.getvalue()
    Table([], []).print(Console(file=stream, width=30), "nothing")
    assert "nothing" not in stream.getvalue()


def test_the_gates_stay_one_table_at_80_columns() -> None:
    gates = [
        {"name": "operational.unit_length_deviation", "passed": True, "reason": "6e-08 is <= 1"}
    ]
    gates += [{"name": "integrity.weights", "passed": False, "reason": f"is {'0123456789' * 4}"}]
    stream = io.StringIO()
    gates_table(gates).select(*GATE_COLUMNS).print(Console(file=stream, width=80), "Gates")
    assert "operational.unit_length_deviation   passed" in stream.getvalue()
    assert "continued" not in stream.getvalue() and "…" not in stream.getvalue()


def test_html_is_escaped(verdict: dict[str, Any]) -> None:
    html = gates_table(verdict["gates"]).html()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert '<td class="failed" data-label="verdict">failed</td>' in html


def test_texts_wrap_and_numbers_scroll() -> None:
    """In headless Chromium nothing was cut off at 1,400 and at 390 pixels."""
    texts = Table(["gate", "reason"], [["integrity.run", "the training run did not finish at all"]])
    numbers = Table(["arm", "mAP"], [["baseline", "39.07"]])
    assert '<div class="table">\n<table class="texts">' in texts.html()
    assert '<div class="table">\n<table>' in numbers.html()
