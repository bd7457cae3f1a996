"""Two gloo processes share the features of one measurement; the values are those of one process."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from lookalike.metrics.distances import frechet_distance, kernel_distance
from lookalike.metrics.manifold import precision_and_recall


@pytest.mark.distributed
@pytest.mark.filterwarnings("ignore:.*subsets of")
def test_two_processes_share_the_features(tmp_path: Path, launch) -> None:  # type: ignore[no-untyped-def]
    first, second = launch("comparing.py", tmp_path / "two", 2)

    place = Path(__file__).with_name("comparing.py")
    spec = importlib.util.spec_from_file_location("comparing", place)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    extract = script.MeanColour()
    real = extract(script.pictures(0, script.REAL))
    fake = extract(script.pictures(1, script.FAKE))
    precision, recall = precision_and_recall(real, fake)
    expected = {
        "precision": precision,
        "recall": recall,
        "kernel_colour": kernel_distance(real, fake),
        "frechet_colour": frechet_distance(real, fake),
    }
    for turn in ("fresh", "cached"):
        measured = {name: float(first[f"{turn}.{name}"]) for name in expected}
        assert measured == pytest.approx(expected, rel=1e-9), turn
    # Each looked at its share; with the cache the main process checks eight real images again.
    assert (int(first["fresh.seen"]), int(second["fresh.seen"])) == (7 + 5, 6 + 4)
    assert (int(first["cached.seen"]), int(second["cached.seen"])) == (8 + 5, 4)
    assert set(second) == {"fresh.seen", "cached.seen"}, "the main process alone has values"
