"""The card says what is true of the arm, whatever it was trained on."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from lookalike.config import Config
from lookalike.registry.evidence import Evidence
from lookalike.registry.model_card import model_card
from lookalike.reid.measurement import Measurement

SHIPPED = Config().model_dump()
EVIDENCE = Evidence(
    evaluation=Measurement(
        "abc",
        {"rank_1": 0.5, "mAP": 0.25},
        pd.DataFrame({"camera_id": ["1", "1"], "rank_1": [1.0, 0.0]}),
    ),
    weights_md5="m",
    locked_md5="m",
    run_status="FINISHED",
    data_valid=True,
    git_sha="s",
    uncommitted=(),
    leaks={},
    frechet=0.125,
    pass_rates={"persons": 0.75, "variations": 0.5},
)


def card(**arm: Any) -> str:
    data = SHIPPED["data"] | {"source": "market1501", "others": {"duke": "dukemtmc"}}
    arms = {"baseline": {"images": ["none"]}, "x": arm}
    config = Config.model_validate(SHIPPED | {"data": data, "arms": arms})
    return model_card("lookalike-reid", "x", EVIDENCE, config)


@pytest.mark.parametrize(
    ("real", "trained_on"),
    [
        (["own"], "the real train images of `market1501`"),
        (["duke"], "the real train images of `duke` (`dukemtmc`)"),
        (["own", "duke"], "the real train images of `market1501` and `duke` (`dukemtmc`)"),
    ],
)
def test_it_names_the_data_that_the_arm_was_trained_on(real: list[str], trained_on: str) -> None:
    text = card(images=["none"], real=real)
    assert f"Trained on {trained_on}; no generated ones." in text
    assert "tested on the test persons of `market1501`" in text
    assert "Measured on `market1501` only" in text
    for generated in ("generator", "filter", "Frechet"):
        assert generated not in text
    assert f"Trained on {trained_on}, and on new persons" in card(images=["persons"], real=real)


def test_generated_images_are_of_the_main_data_set() -> None:
    text = card(images=["variations"], real=["duke"])
    assert "generated variations of the train images of `market1501`" in text
    assert "that the filter kept: 50.0%" in text and "75.0%" not in text
    assert "Frechet distance in the features of `reid`: 0.125" in text
    assert "the filter kept: 75.0%" in card(images=["persons"])


def test_results_are_in_it() -> None:
    text = card(images=["none"])
    assert "| rank_1 | 0.5000 |" in text and "| 1 | 0.5000 |" in text


def test_it_says_how_generated_images_took_part() -> None:
    both = ["persons", "variations"]
    text = card(images=both, label="own")
    assert "new persons, each a class of its own" in text
    assert "each source's a class beside it" in text and "took part" not in text
    text = card(images=both, label="uniform", weight=0.5, batch_share=0.25, epochs=[2, 4])
    assert text.count("labelled as all real persons alike") == 2
    assert "took part in the training: weight 0.5, batch_share 0.25, epochs [2, 4]." in text
