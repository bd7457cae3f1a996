import json
from pathlib import Path

import pandas as pd
import pytest

from lookalike.errors import UserError
from lookalike.registry.candidate import spread, winner_and_rival


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"baseline": 0.5, "persons": 0.6, "variations": 0.7}, ("variations", "baseline")),
        ({"baseline": 0.7, "persons": 0.6, "variations": 0.7}, ("baseline", "variations")),
        ({"baseline": 0.7}, ("baseline", "baseline")),
    ],
)
def test_validation_chooses_the_winner_and_the_baseline_is_the_rival(
    tmp_path: Path, scores: dict[str, float], expected: tuple[str, str]
) -> None:
    for number, (arm, score) in enumerate(scores.items()):
        (tmp_path / arm).mkdir()
        # The test's own mAP falls where validation's rises: it must not choose.
        metrics = {"mAP": 1 - number / 10 - score, "validation": {"mAP": score}}
        (tmp_path / arm / "metrics.json").write_text(json.dumps(metrics))
    assert winner_and_rival(tmp_path, list(scores)) == expected


def test_an_arm_that_was_not_evaluated_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"arm mine of params.yaml has no .*metrics.json: run") as e:
        winner_and_rival(tmp_path, ["mine"])
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("rows", "positions"), [(90, [0, 30, 59, 89]), (3, [0, 1, 2]), (0, [])])
def test_the_gate_sends_pictures_from_all_over_the_queries(rows: int, positions: list[int]) -> None:
    assert spread(pd.DataFrame({"row": range(rows)}), 4)["row"].tolist() == positions
