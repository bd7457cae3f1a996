"""Features of another program, by the same protocol."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import UserError
from lookalike.reid.foreign import FeatureFile

GOLDEN = Path(__file__).parents[2] / "golden" / "ranking_a.npz"

SIDES = ("query", "gallery")


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


class Pickled:
    """Leaves a file behind where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.astype(np.float64)
    changed.reshape(-1)[-1] = value
    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("query", lambda x: None, "lacks query; it holds gallery, .*; write all six"),
        ("query", lambda x: x.ravel(), r"query is float32 \[2880\]; it must hold numbers, a row"),
        ("query", lambda x: x.astype(complex), "query is complex128"),
        ("query", lambda x: x[:, :3], "query has 3 columns, gallery 32; features of one model"),
        ("query", lambda x: with_value(x, np.nan), "query holds NaN.* in 1 of 90 rows.* row 89"),
        ("gallery", lambda x: with_value(x, np.inf), "gallery holds NaN, infinity or values too"),
        ("gallery", lambda x: with_value(x, 1e300), "gallery holds NaN, infinity or values too"),
        ("gallery", lambda x: x[:0], r"gallery is float32 \[0, 32\]"),
        ("gallery", lambda x: x[:, :0], r"gallery is float32 \[600, 0\]"),
        ("gallery", lambda x: x.astype(str), "gallery is <U32"),
        ("gallery", lambda x: np.array([[Pickled()]]), "gallery holds Python objects"),
        ("query_persons", lambda x: np.array([Pickled()]), "query_persons holds Python objects"),
        ("query_persons", lambda x: x[:3], r"query_persons has shape \[3\]; query has 90 rows"),
        ("gallery_cameras", lambda x: x[None], r"gallery_cameras has shape \[1, 600\]; gallery"),
        ("query_persons", lambda x: x + 0.5, r"persons hold 38.5: labels must be text or whole"),
        ("query_persons", lambda x: with_value(x, np.nan), "persons hold nan: labels must be"),
        ("query_cameras", lambda x: x > 0, "cameras hold True: labels must be text or whole"),
        ("query_persons", lambda x: x.astype("M8[s]"), "labels must be text or whole numbers"),
        ("query_persons", lambda x: np.full(len(x), "who"), "90 of 90 queries have no match"),
        ("gallery_persons", lambda x: np.full(len(x), -1), "the gallery is empty or all junk"),
    ],
)
def test_what_does_not_fit_is_named_with_its_file(
    name: str,
    change: Callable[[np.ndarray], np.ndarray | None],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = arrays() | {name: change(arrays()[name])}
    np.savez("features.npz", **{key: value for key, value in changed.items() if value is not None})
    with pytest.raises(UserError, match=f"(?s)^features.npz.*{message}") as caught:
        FeatureFile.load(Path("features.npz")).rank()
    assert "\n" not in str(caught.value)
    assert not Path("executed").exists()


@pytest.mark.parametrize("kind", [str, np.bytes_, float, np.uint16])
def test_labels_are_text_or_numbers(kind: type, tmp_path: Path) -> None:
    path, plain = tmp_path / "features.npz", tmp_path / "plain.npz"
    np.savez(plain, **arrays())
    of_kind = {key: value.astype(kind) for key, value in arrays().items() if key not in SIDES}
    of_kind["gallery_persons"] = arrays()["gallery_persons"].astype(str)  # -1 among them
    with_objects = {"files": np.array([Pickled()])}  # not looked at
    np.savez(path, **{key: arrays()[key].astype(float) for key in SIDES}, **of_kind, **with_objects)
    found, expected = (FeatureFile.load(file).rank()[0] for file in (path, plain))
    assert found.summary() == expected.summary()


def test_other_files_are_called_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file at"):
        FeatureFile.load(tmp_path / "nothing.npz")
    lone = tmp_path / "lone.npy"
    np.save(lone, np.zeros(3))
    with pytest.raises(UserError, match="holds no features, it is a NumPy array"):
        FeatureFile.load(lone)
    pickled = tmp_path / "pickled.npz"
    pickled.write_bytes(pickle.dumps(arrays()))
    with pytest.raises(UserError, match="holds no features, it is a pickle"):
        FeatureFile.load(pickled)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    few = {key: value[:8] for key, value in arrays().items()}
    for write in (np.savez, np.savez_compressed):
        write(path, **few)
        whole, random = path.read_bytes(), np.random.default_rng(0)
        for _ in range(200):
            damaged = np.frombuffer(whole, np.uint8).copy()
            damaged[random.integers(len(damaged), size=3)] = random.integers(256, size=3)
            path.write_bytes(damaged[: random.integers(len(damaged) // 2, len(damaged) + 1)])
            with suppress(UserError):  # a flag or a time that nobody reads may be what changed
                FeatureFile.load(path)
            path.write_bytes(damaged)
            with suppress(UserError):
                FeatureFile.load(path)
