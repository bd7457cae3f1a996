import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lookalike.artifacts import Artifacts
from lookalike.errors import UserError
from lookalike.registry.candidate import choose


def evaluate(folder: Path, arm: str, score: float, noise: float = 0.0) -> None:
    """What `evaluate` writes about 20 validation persons, each AP `score` but for the noise."""
    folder = folder / "evaluate"
    (folder / arm).mkdir(parents=True)
    persons = [f"{n:04d}" for n in range(20)]
    spread = noise * np.random.default_rng(0).permutation(np.linspace(-1, 1, 20))
    frame = pd.DataFrame({"image_id": persons, "person_id": persons, "ap": score + spread})
    frame.assign(rank_1=1.0).to_parquet(folder / arm / "validation.parquet")
    # The test's own mAP falls where validation's rises: it must not choose.
    metrics = {"mAP": 1 - score, "validation": {"mAP": score}}
    (folder / arm / "metrics.json").write_text(json.dumps(metrics))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"baseline": 0.5, "persons": 0.6, "variations": 0.7}, ("variations", "baseline")),
        ({"baseline": 0.7, "persons": 0.6, "variations": 0.7}, ("baseline", "variations")),
        ({"baseline": 0.5, "persons": 0.515, "variations": 0.4}, ("baseline", "persons")),
        ({"baseline": 0.7}, ("baseline", "baseline")),
    ],
)
def test_validation_chooses_the_winner_and_the_baseline_is_the_rival(
    tmp_path: Path, scores: dict[str, float], expected: tuple[str, str]
) -> None:
    for arm, score in scores.items():
        evaluate(tmp_path, arm, score)
    choice = choose(Artifacts(tmp_path), list(scores), margin=0.02)
    assert (choice.winner, choice.rival) == expected
    assert choice.standings["baseline"].lower == 0 and choice.standings["baseline"].eligible


def test_an_arm_that_is_better_by_chance_alone_does_not_win(tmp_path: Path) -> None:
    """5 points of mAP, but some persons gain 50 and others lose 40: another draw may lose."""
    evaluate(tmp_path, "baseline", 0.5)
    evaluate(tmp_path, "lucky", 0.55, noise=0.45)
    evaluate(tmp_path, "better", 0.54, noise=0.02)
    choice = choose(Artifacts(tmp_path), ["baseline", "lucky", "better"], margin=0.02)
    assert choice.winner == "better"
    lucky = choice.standings["lucky"]
    assert lucky.mAP == 0.55 and lucky.lower < 0 and not lucky.eligible


@pytest.mark.parametrize("missing", ["metrics.json", "validation.parquet"])
def test_an_arm_that_was_not_evaluated_is_named_in_one_line(tmp_path: Path, missing: str) -> None:
    for arm in ("baseline", "mine"):
        evaluate(tmp_path, arm, 0.5)
    (tmp_path / "evaluate" / "mine" / missing).unlink()
    with pytest.raises(UserError, match=rf"arm mine of params.yaml has no .*{missing}: run") as e:
        choose(Artifacts(tmp_path), ["baseline", "mine"], margin=0.02)
    assert "\n" not in str(e.value)
