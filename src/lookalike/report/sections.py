"""Which pictures the report shows, under which headings, in the order in which one reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike.artifacts import Artifacts
from lookalike.config import KINDS
from lookalike.spread import spread

SUFFIXES = (".png", ".jpg")
# Within a folder; others follow by name.
ORDER = ("cmc.png", "side_by_side.png", "ranked_lists.png", "similarities.png")
SNAPSHOTS = 6  # of a long training; the first and the last are among them

CAPTIONS = {
    "activation.png": "Where the network finds what it describes: each query beside its map of "
    "squared activations, summed over channels (Zagoruyko and Komodakis 2017).",
    "cmc.png": "Share of the test queries with a right match among the first k, per arm.",
    "embedding_map.png": "Embeddings of the test persons with most images, by their first two "
    "principal components. Persons should be apart, cameras mixed.",
    "filter_bounds.png": "Share of the real images that a bound would reject; dashed: the bound.",
    "filter_scores.png": "Scores of the generated images per step; dashed: what is less is "
    "rejected.",
    "ranked_lists.png": "Queries (blue) and the ten most similar gallery images: green shows the "
    "same person, red another.",
    "reconstructions.png": "Real persons and their inversions.",
    "side_by_side.png": "The test queries whose AP differs most between the two models, gains "
    "first; green shows the same person, red another.",
    "similarities.png": "Cosine similarity of all pairs of a query and a gallery image: one person "
    "seen by two cameras, and two persons. Junk is left out.",
    "train_gan.png": "Distances, precision and recall of the averaged generator while it trained.",
    "train_reid.png": "Loss on training images, and mAP and rank-1 on validation persons, who "
    "choose the weights that are kept and the arm that wins.",
}


@dataclass(frozen=True)
class Section:
    """Picture files under a heading, each with its caption."""

    heading: str
    pictures: Sequence[tuple[Path, str]]


def read_sections(artifacts: Artifacts, drawn: Path, arms: Sequence[str]) -> Iterator[Section]:
    """All pictures that the stages wrote, except those of the Data Docs, and all drawn ones.

    Sections without pictures are left out. Files that nobody has described come last, with their
    paths as captions.

    Args:
        artifacts: what the stages have made.
        drawn: the folder of `draw_overview`.
        arms: the arms of `params.yaml`, in order.
    """
    plan: list[tuple[str, list[Path]]] = [
        ("The arms compared", [*_pictures(artifacts.register.folder), drawn / "train_reid.png"]),
        *((f"Arm {arm}: test queries", _pictures(artifacts.evaluate(arm).folder)) for arm in arms),
        (
            "The generator",
            [drawn / "train_gan.png", *_some(_pictures(artifacts.train_gan.samples))],
        ),
        ("Inversion of real persons", _pictures(artifacts.train_encoder.folder)),
        *((f"Generated {kind}", _pictures(artifacts.generate(kind).folder)) for kind in KINDS),
        ("The filters", [drawn / "filter_scores.png", drawn / "filter_bounds.png"]),
        *((f"Filtered {kind}", _pictures(artifacts.filter(kind).folder)) for kind in KINDS),
    ]
    known = {path for _, paths in plan for path in paths}
    apart = artifacts.validate.docs, artifacts.train_gan.samples
    others = [
        path
        for path in sorted(artifacts.folder.rglob("*"))
        if path.suffix in SUFFIXES
        and path not in known
        and not any(path.is_relative_to(folder) for folder in apart)
    ]
    for heading, paths in [*plan, ("Other pictures", others)]:
        pictures = [(path, _caption(path, artifacts.folder)) for path in paths if path.is_file()]
        if pictures:
            yield Section(heading, pictures)


def _caption(path: Path, root: Path) -> str:
    if path.parent.name == "samples":
        return f"Samples of the averaged generator after {int(path.stem):,} images."
    if path.name == "sheet.png" and path.parent.parent.name == "filter":
        return "What was kept (green), and what was rejected (red) for which reason."
    if path.name == "sheet.png":
        return "Generated images, a row for each person; blue: the real image that they vary."
    if path.name in CAPTIONS:
        return CAPTIONS[path.name]
    return path.relative_to(root).as_posix()


def _pictures(folder: Path) -> list[Path]:
    """Known pictures in the order of `ORDER`, then the others by name."""
    order = {name: number for number, name in enumerate(ORDER)}
    paths = [path for path in folder.glob("*") if path.suffix in SUFFIXES]
    return sorted(paths, key=lambda path: (order.get(path.name, len(order)), path.name))


def _some(paths: Sequence[Path]) -> list[Path]:
    """At most `SNAPSHOTS` at even distances."""
    return [paths[place] for place in spread(len(paths), SNAPSHOTS)]
