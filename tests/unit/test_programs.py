"""Programs beside the interpreter."""

from pathlib import Path

import pytest

from lookalike.errors import UserError
from lookalike.programs import braces, run_program


def test_output_or_the_last_line_of_what_went_wrong() -> None:
    assert run_program("python", "-c", "print('well')") == "well\n"
    with pytest.raises(UserError, match=r"`python -c raise OSError\(2\)` failed: OSError: 2"):
        run_program("python", "-c", "raise OSError(2)")
    with pytest.raises(UserError, match="not installed here; run `make install`"):
        run_program("no-such-program")


def test_a_path_that_dvc_cannot_read_is_told_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cache's path is filled in as a template."""
    odd = tmp_path / "a {b} [c] %d #e"
    odd.mkdir()
    assert "rename that folder" in braces(odd)
    assert braces(tmp_path) == ""
    monkeypatch.chdir(odd)
    with pytest.raises(UserError, match="DVC stumbles over"):
        run_program("dvc", "no-such-command")
