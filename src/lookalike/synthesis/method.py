"""The whole chain in pictures: what one pipeline's artifacts show of each step, for docs/method.md.

Real persons with their inversions and each kind of variation, new persons, what the filters kept
and rejected for which reason, and how the arms learnt from it and with what result.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lookalike.artifacts import Artifacts
from lookalike.config import KINDS, Config
from lookalike.data.loading import Images, load_images, resize_batch
from lookalike.data.manifest import read_manifest
from lookalike.data.scores import read_scores
from lookalike.device import default_device
from lookalike.errors import UserError
from lookalike.files import write_text
from lookalike.inversion.checkpoint import load_encoder
from lookalike.inversion.encoder import reconstruct
from lookalike.progress import say
from lookalike.report.figures import BLUE, Band, Cell, draw_sheet
from lookalike.report.filter_sheet import kept_and_rejected
from lookalike.report.results import read_results
from lookalike.report.tables import NONE, Table
from lookalike.spread import spread
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.synthesis.recipes import Recipe

PERSONS = 5  # on a sheet
IMAGES = 8  # of a new person
TABLE = re.compile(r"(<!-- arms -->\n).*?(<!-- end of arms -->)", re.DOTALL)


def write_method(artifacts: Artifacts, root: Path, config: Config, page: Path) -> None:
    """Write the pictures beside the page, in `images/method/`, and the table of arms into it.

    Args:
        artifacts: what the stages have made.
        root: the repository root.
        config: of the pipeline that wrote them.
        page: Markdown with the lines `<!-- arms -->` and `<!-- end of arms -->`.

    Raises:
        UserError: there is no such page, or a stage has not run.
    """
    text = page.read_text() if page.is_file() else ""
    if not TABLE.search(text):
        raise UserError(f"{page} has no lines <!-- arms --> and <!-- end of arms -->")
    folder = page.parent / "images" / "method"
    height, width = config.generate.height, config.generate.width
    draw_variations(artifacts, root, height, width, folder / "variations.jpg")
    draw_persons(artifacts, root, height, width, folder / "persons.jpg")
    for kind in KINDS:
        made = read_manifest(artifacts.generate(kind).manifest)
        images = load_images(made, root, height, width)
        scores = read_scores(artifacts.filter(kind).scores)
        kept_and_rejected(images, scores, folder / f"filtered_{kind}.jpg", columns=8)
    arms = learning_table(artifacts, config).markdown()
    write_text(page, TABLE.sub(lambda found: found[1] + arms + found[2], text))
    say(f"{page}: the table of arms; {folder}: the pictures")


def draw_variations(artifacts: Artifacts, root: Path, height: int, width: int, path: Path) -> None:
    """A row per real person: a train image (blue), its inversion, and a variation of each kind."""
    made = read_manifest(artifacts.generate("variations").manifest)
    made = made.assign(kind=made["recipe"].map(in_words)).sort_values("image_id")
    kinds = sorted(made["kind"].unique())
    sources, rows = [], []
    for person in _some(made["person_id"], PERSONS):
        # Of one source, as far as it has variations of each kind; else of another of the person.
        first = made[made["person_id"] == person].drop_duplicates("kind").set_index("kind")
        sources.append(first.iloc[0]["source_image"])
        rows.append(first.reindex(kinds))
    real = read_manifest(artifacts.validate.manifest).set_index("image_id")
    crops = load_images(real.loc[sources].reset_index(), root, height, width)
    inverted = _inversions(artifacts, crops)
    bands = []
    for source, inversion, row in zip(crops, inverted, rows, strict=True):
        there = row.dropna(subset="image_id")
        images = dict(
            zip(there.index, load_images(there.reset_index(), root, height, width), strict=True)
        )
        varied = [Cell(images[kind], kind) if kind in images else None for kind in kinds]
        bands.append([Cell(source, "real", BLUE), Cell(inversion, "inverted"), *varied])
    draw_sheet([Band("real | its inversion | variations", bands)], path, scale=1)


def draw_persons(artifacts: Artifacts, root: Path, height: int, width: int, path: Path) -> None:
    """A row per new person: its first images, each with the kind of its recipe."""
    made = read_manifest(artifacts.generate("persons").manifest)
    made = made.sort_values("image_id")
    rows = []
    for person in _some(made["person_id"], PERSONS):
        own = made[made["person_id"] == person]
        own = own.iloc[spread(len(own), IMAGES)]
        images = load_images(own, root, height, width)
        rows.append([Cell(*pair) for pair in zip(images, own["recipe"].map(in_words), strict=True)])
    draw_sheet([Band("new persons", rows)], path, scale=1)


def in_words(recipe: str) -> str:
    """What a recipe does, in a word or two: "mix medium"."""
    parsed = Recipe.parse(recipe)
    return " ".join(filter(None, (parsed.kind, parsed.group)))


def learning_table(artifacts: Artifacts, config: Config) -> Table:
    """How each arm learns from generated images, and what it brings; rates in percent."""
    results = read_results(artifacts, list(config.arms))
    rows = []
    for name, arm in config.arms.items():
        measured = results.metrics.get(name)
        share = NONE if arm.batch_share is None else f"{100 * arm.batch_share:g} %"
        how = [arm.label, f"{arm.weight:g}", share] if "none" not in arm.images else [NONE] * 3
        if measured is None:
            rows.append([name, NONE, *how, NONE, NONE, NONE])
            continue
        rates = (measured["validation"]["mAP"], measured["rank_1"], measured["mAP"])
        rates_in_percent = [f"{100 * rate:.1f}" for rate in rates]
        rows.append([name, f"{measured['synthetic_images']:,}", *how, *rates_in_percent])
    header = ["arm", "generated images", "taught as", "weight", "of a batch"]
    return Table([*header, "validation mAP", "rank-1", "mAP"], rows)


def _inversions(artifacts: Artifacts, crops: Images) -> Images:
    """What the encoder and the generator make of real crops, at the generator's size."""
    network = load_generator(artifacts.train_gan.generator, default_device())
    encoder = load_encoder(artifacts.train_encoder.encoder, network)
    return reconstruct(encoder, resize_batch(crops, network.config.height, network.config.width))


def _some(persons: pd.Series, count: int) -> Sequence[str]:
    """A few persons at even distances."""
    names = sorted(persons.unique())
    return [names[place] for place in spread(len(names), count)]
