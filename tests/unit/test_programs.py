"""Programs beside the interpreter."""

import pytest

from lookalike.errors import UserError
from lookalike.programs import run_program


def test_output_or_the_last_line_of_what_went_wrong() -> None:
    assert run_program("python", "-c", "print('well')") == "well\n"
    with pytest.raises(UserError, match=r"`python -c raise OSError\(2\)` failed: OSError: 2"):
        run_program("python", "-c", "raise OSError(2)")
    with pytest.raises(UserError, match="not installed here; run `make install`"):
        run_program("no-such-program")
