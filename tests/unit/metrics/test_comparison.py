import numpy as np
import pytest
from safetensors.numpy import load_file

from lookalike.errors import UserError
from lookalike.metrics.comparison import Comparison, share
from lookalike.metrics.distances import frechet_distance, kernel_distance
from lookalike.metrics.manifold import precision_and_recall
from lookalike.training.session import Session

pytestmark = pytest.mark.filterwarnings("ignore:.*subsets of")


class Colours:
    """Mean and spread of each channel, and a count of the images that it was asked for."""

    name, kernel_name, dim = "frechet_colours", "kernel_colours", 6

    def __init__(self, digest="1", gain=1.0):
        self.digest, self.gain, self.seen = digest, gain, 0

    def __call__(self, images):
        self.seen += len(images)
        spread = images.std(axis=(1, 2))
        features = np.concatenate([images.mean(axis=(1, 2)), spread], axis=1)
        return (features * self.gain).astype(np.float32)


def pictures(seed, count, low=0):
    return np.random.default_rng(seed).integers(low, 256, (count, 8, 4, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def session():
    return Session(seed=0)


@pytest.fixture
def measure(session, tmp_path):
    """Measures 20 images against 30 with this extractor, through the cache."""

    def run(extract, real=None):
        real = pictures(0, 30) if real is None else real
        return Comparison(real, extract, session, tmp_path / "cache")(pictures(1, 20, low=30), 20)

    return run


def test_all_distances_come_under_their_names(measure):
    measured = measure(Colours())
    extract = Colours()
    real, fake = extract(pictures(0, 30)), extract(pictures(1, 20, low=30))
    precision, recall = precision_and_recall(real, fake)
    assert measured == {
        "precision": precision,
        "recall": recall,
        "kernel_colours": kernel_distance(real, fake),
        "frechet_colours": frechet_distance(real, fake),
    }
    assert list(measured)[-1] == "frechet_colours", "what `dvc plots` draws"


def test_the_real_side_is_cached_by_content(measure, tmp_path):
    first = Colours()
    measured = measure(first)
    assert first.seen == 50
    again = Colours()
    assert measure(again) == measured, "to the bit"
    assert again.seen == 20 + 8, "the generated ones, and a few real ones to be sure"
    assert len(list((tmp_path / "cache").iterdir())) == 1

    other_images, other_digest = Colours(), Colours(digest="2")
    changed = pictures(0, 30)
    changed[7, 0, 0, 0] ^= 1  # one bit of one pixel
    measure(other_images, real=changed)
    measure(other_digest)
    assert other_images.seen == other_digest.seen == 50
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_the_cache_holds_tensors_only(measure, tmp_path):
    measure(Colours())
    (path,) = (tmp_path / "cache").iterdir()
    shapes = {name: array.shape for name, array in load_file(path).items()}
    assert shapes == {"features": (30, 6), "factor": (6, 6), "mean": (6,), "radii": (30,)}


def test_a_damaged_or_outdated_cache_is_made_anew(measure, tmp_path, capsys):
    measured = measure(Colours())
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(path.read_bytes()[:200])
    extract = Colours()
    assert measure(extract) == measured
    assert extract.seen == 50
    assert "damaged" in capsys.readouterr().err

    rewritten = Colours(gain=2)  # as after a change of its code
    assert measure(rewritten)["frechet_colours"] == pytest.approx(
        4 * measured["frechet_colours"], rel=1e-4
    )
    assert rewritten.seen == 8 + 50
    assert "another version of the feature extractor" in capsys.readouterr().err


def test_doubts_are_said_in_words_and_once(session, tmp_path, capsys):
    compare = Comparison(pictures(0, 30), Colours(), session, tmp_path)
    for _ in range(2):
        compare(pictures(1, 5), 5)
    said = capsys.readouterr().err
    assert said.count("frechet_colours: 5 samples in 6 dimensions") == 1
    assert said.count("subsets of 5 samples, not 1000") == 1
    compare(np.zeros((5, 8, 4, 3), np.uint8), 5)
    assert "the generator has collapsed" in capsys.readouterr().err


def test_what_cannot_be_measured_is_an_error_in_one_line(session, tmp_path):
    class Broken(Colours):
        def __call__(self, images):
            return np.where(images[:, :2, :3, 0].reshape(-1, 6) > 0, np.float32(1), np.nan)

    with pytest.raises(UserError, match=r"frechet_colours: the real images: .* at least 4"):
        Comparison(pictures(0, 3), Colours(), session, tmp_path)
    compare = Comparison(pictures(0, 30, low=1), Broken(), session, tmp_path)
    with pytest.raises(UserError, match="collapsed; lower gan"):
        compare(np.zeros((5, 8, 4, 3), np.uint8), 5)


@pytest.mark.parametrize(("count", "world"), [(320, 1), (7, 2), (3, 4), (64, 8), (65, 8)])
def test_shares_are_disjoint_whole_and_in_order(count, world):
    class Process:
        def __init__(self, rank):
            self.rank, self.world = rank, world

    images = list(range(count))
    parts = [images[share(count, Process(rank))] for rank in range(world)]
    assert [image for part in parts for image in part] == images
    assert len({len(part) for part in parts[: count // -(-count // world)]}) == 1
