from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from lookalike.report import curves

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(1.0, 0.3, 200), RNG.normal(0.6, 0.4, 150)

DRAWINGS: dict[str, Callable[[Path], None]] = {
    "cmc": lambda path: curves.cmc_curves(
        {"baseline": np.linspace(0.5, 1, 50), "persons": np.linspace(0.6, 1, 50)}, path
    ),
    "training": lambda path: curves.training_curves(
        {
            "loss": {"baseline": [(32, 1.0), (0, 2.0)], "persons": [(0, 1.5)]},
            "rank_1": {"": [(32, 0.5)]},
            "nothing": {"": []},
            "mAP": {"": [(8, 0.2)]},
        },
        path,
    ),
    "histograms": lambda path: curves.score_histograms(
        {"detector": {"persons": REAL, "variations": FAKE}}, {"detector": 0.5}, path
    ),
    "similarities": lambda path: curves.similarity_histogram(
        np.arange(100), np.arange(100)[::-1], path, overlap=0.3, equal_error_rate=0.2
    ),
    "map": lambda path: curves.embedding_map(
        np.arange(12.0).reshape(6, 2),
        ["0001", "0002"] * 3,
        ["1", "2", "10"] * 2,
        path,
        shares=(0.5, 0.25),
    ),
    "rejection": lambda path: curves.rejection_curves(
        {"detector": (np.arange(3.0), np.arange(3) / 3)}, {"detector": 0.5}, path
    ),
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The axes of the figures that were written, to read their lines back."""
    axes: list[Axes] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: object, **options: object) -> None:
        axes.extend(figure.axes)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return axes


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_are_small_pictures_with_the_same_bytes_each_time(
    tmp_path: Path, name: str
) -> None:
    for copy in ("a", "b"):
        DRAWINGS[name](tmp_path / "new" / f"{copy}.png")
    first, second = ((tmp_path / "new" / f"{copy}.png").read_bytes() for copy in ("a", "b"))
    assert first == second
    assert len(first) < 200_000
    picture = np.asarray(Image.open(tmp_path / "new" / "a.png").convert("L"))
    assert picture.min() < 60 < 200 < picture.max()


def test_cmc_curve_starts_at_rank_one_and_ends_at_max_rank(
    tmp_path: Path, drawn: list[Axes]
) -> None:
    cmc = np.linspace(0.5, 1, 50)
    curves.cmc_curves({"baseline": cmc}, tmp_path / "cmc.png", max_rank=10)
    (line,) = drawn[0].lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 11))
    np.testing.assert_array_equal(line.get_ydata(), cmc[:10])
    assert line.get_label() == "baseline"


def test_every_metric_has_its_panel(tmp_path: Path, drawn: list[Axes]) -> None:
    DRAWINGS["training"](tmp_path / "t.png")
    assert [axes.get_title() for axes in drawn] == ["loss", "rank 1", "nothing", "mAP"]
    assert [line.get_label() for line in drawn[0].lines] == ["baseline", "persons"]
    np.testing.assert_array_equal(drawn[0].lines[0].get_ydata(), [2.0, 1.0])


def test_rejection_curves_have_a_panel_per_step_with_its_bound(
    tmp_path: Path, drawn: list[Axes]
) -> None:
    thresholds, rejected = np.array([0.1, 0.2, 0.3]), np.array([0, 0.1, 0.5])
    curves.rejection_curves(
        {"detector": (thresholds, rejected), "ssim": (thresholds, rejected)},
        {"ssim": 0.75, "detector": 0.25, "duplicate": 0.98},
        tmp_path / "r.png",
    )
    for axes, bound in zip(drawn, (0.25, 0.75), strict=True):
        curve, line = axes.lines
        np.testing.assert_array_equal(curve.get_ydata(), rejected)
        assert line.get_xdata()[0] == bound


def test_histogram_shares_add_up_to_one(tmp_path: Path, drawn: list[Axes]) -> None:
    scores = {"ssim": {"persons": np.append(REAL, np.nan)}}
    curves.score_histograms(scores, {"ssim": 0.5}, tmp_path / "h.png")
    assert sum(bar.get_height() for bar in drawn[0].patches) == pytest.approx(1)
    assert drawn[0].lines[0].get_xdata()[0] == 0.5


def test_similarities_are_shares_of_each_kind_of_pairs(tmp_path: Path, drawn: list[Axes]) -> None:
    matching, others = np.array([0, 0, 1, 3]), np.array([5, 4, 1, 0])
    curves.similarity_histogram(
        matching, others, tmp_path / "s.png", overlap=0.1, equal_error_rate=0.05
    )
    heights = [patch.get_data().values for patch in drawn[0].patches]
    np.testing.assert_allclose(heights, [[0.5, 0.4, 0.1, 0], [0, 0, 0.25, 0.75]])
    assert drawn[0].get_title() == "overlap 10.0%, equal error rate 5.0%"


def test_map_has_a_spoke_per_image_and_a_shape_per_camera(
    tmp_path: Path, drawn: list[Axes]
) -> None:
    DRAWINGS["map"](tmp_path / "m.png")
    left, right = drawn
    spokes, *spots = left.collections
    assert len(spokes.get_segments()) == 6
    np.testing.assert_array_equal(spokes.get_segments()[0], [[4, 5], [0, 1]])  # mean, image
    assert len(spots) == len(right.collections) == 3
    cameras = [points.get_label() for points in right.collections]
    assert cameras == ["camera 1", "camera 2", "camera 10"]
