"""Seeds are the same on every machine."""

from __future__ import annotations

import hashlib

from lookalike.seeds import derive_seed


def test_derived_seeds_are_the_same_everywhere() -> None:
    assert derive_seed(1, 320, 0, "r1") == 5386388832795647636
    digest = hashlib.sha256(b"1/epoch/3").hexdigest()
    assert derive_seed(1, "epoch", 3) == int(digest[:16], 16) >> 1
    assert 0 <= derive_seed("x") < 2**63
