"""Features of another program, by the same protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import UserError
from lookalike.reid.foreign import FeatureFile

GOLDEN = Path(__file__).parents[2] / "golden" / "ranking_a.npz"


def arrays() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as golden:
        return {
            "query": golden["query_features"],
            "gallery": golden["gallery_features"],
            "query_persons": golden["query_pids"],
            "gallery_persons": golden["gallery_pids"],
            "query_cameras": golden["query_camids"],
            "gallery_cameras": golden["gallery_camids"],
        }


def test_the_metrics_are_those_of_established_implementations(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    np.savez(path, **arrays())
    ranking, again = FeatureFile.load(path).rank(rerank_too=True)
    assert again is not None
    with np.load(GOLDEN, allow_pickle=False) as golden:
        assert ranking.summary()["mAP"] == pytest.approx(float(golden["mAP_standard"]), abs=1e-6)
        assert ranking.summary()["mINP"] == pytest.approx(float(golden["mINP"]), abs=1e-6)
        reranked = float(golden["rerank_mAP_standard"])
    assert again.summary()["mAP"] == pytest.approx(reranked, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": None}, "lacks query; it holds gallery"),
        ({"query_persons": np.arange(3)}, "query_persons has shape .3.; query has"),
        ({"gallery": np.zeros((0, 4))}, r"gallery is float64 \[0, 4\]; it must hold numbers"),
        ({"gallery": np.array(["a"])}, "gallery is <U1"),
        ({"gallery": np.zeros((1, 2)), "gallery_persons": np.zeros(1), "gallery_cameras": [1]},
         "gallery 2; features of one model"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    tmp_path: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    path = tmp_path / "features.npz"
    kept = {name: value for name, value in (arrays() | change).items() if value is not None}
    np.savez(path, **kept)
    with pytest.raises(UserError, match=message):
        FeatureFile.load(path)


def test_other_files_are_called_what_they_are_and_no_pickle_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no features at"):
        FeatureFile.load(tmp_path / "nothing.npz")
    page = tmp_path / "page.npz"
    page.write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(UserError, match=r"holds no features: it is .*HTML"):
        FeatureFile.load(page)
    objects = tmp_path / "objects.npz"
    np.savez(objects, **(arrays() | {"query_persons": np.array([{}], dtype=object)}))
    with pytest.raises(UserError, match="holds no features"):
        FeatureFile.load(objects)
    lone = tmp_path / "lone.npy"
    np.save(lone, np.zeros(3))
    with pytest.raises(UserError, match="holds no features"):
        FeatureFile.load(lone)
