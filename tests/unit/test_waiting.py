"""Records that wait for MLflow: in order, each once, with their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lookalike.waiting import Record, Waiting


def test_what_waits_is_handed_over_in_order_and_gone(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path / "run")
    file, folder = tmp_path / "a.png", tmp_path / "pages"
    file.write_text("first")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "b.html").write_text("page")
    for record in ({"kind": "metrics", "step": 1}, {"path": str(file)}, {"path": str(folder)}):
        waiting.add(record)
    file.write_text("written over meanwhile")
    assert len(waiting) == 3
    taken: list[Record] = []

    def take(record: Record) -> None:
        taken.append(record)
        if record.get("path", "").endswith("a.png"):
            assert Path(record["path"]).read_text() == "first"
        if record.get("path", "").endswith("pages"):
            assert (Path(record["path"]) / "deep" / "b.html").read_text() == "page"

    waiting.hand_over(take)
    assert [record.get("step") for record in taken] == [1, None, None]
    assert len(waiting) == 0 and not (tmp_path / "run").exists()


def test_what_is_not_taken_stays_where_it_was(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path / "run")
    for step in range(12):  # numbers of two digits come after those of one
        waiting.add({"step": step})

    def refuse(record: Record) -> None:
        if record["step"] == 7:
            raise OSError("lost again")

    with pytest.raises(OSError, match="lost again"):
        waiting.hand_over(refuse)
    waiting.add({"step": 12})
    taken: list[int] = []
    Waiting(tmp_path / "run").hand_over(lambda record: taken.append(record["step"]))
    assert taken == [7, 8, 9, 10, 11, 12]
