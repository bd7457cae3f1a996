"""The study's re-ID recipe against the strong one, on rendered pedestrians, over several seeds.

Both see the same images at the same size, equally many, from scratch, with the same optimiser and
schedule (those of the defaults, larger and longer): what differs is the head, the losses,
the sampling and the erasing. Results are means and standard deviations over seeds on the test
persons. Each result is kept in FOLDER and each training resumes there, so that the command
may be stopped at any time.

    OMP_NUM_THREADS=1 python benchmarks/recipes.py              # 6 trainings of under 5 minutes
    OMP_NUM_THREADS=1 python benchmarks/recipes.py --seeds 1    # one training of each recipe
    python benchmarks/recipes.py --quick --folder /tmp/quick    # seconds; its numbers say nothing
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from lookalike.config import Config, ReidConfig
from lookalike.data.loading import Images, load_images
from lookalike.data.manifest import test_protocol
from lookalike.data.population import render_population
from lookalike.data.prepare import prepare_manifest
from lookalike.profiles import compose
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import Side, evaluate
from lookalike.reid.trainer import train_reid
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState, fingerprint
from lookalike.training.session import Session

ROOT = Path(__file__).parents[1]
MEASURES = ("rank_1", "mAP", "mINP")
# Larger and longer than the embedded profile: under five minutes of one core for either recipe.
SIZE = {
    "height": 64,
    "width": 32,
    "epochs": 10,
    "batch_size": 32,
    "micro_batch": 32,
    "learning_rate": 0.001,
}
# What is not the recipe: sizes, the start, and how long and how fast to train.
SCALE = (
    "height",
    "width",
    "weights",
    "epochs",
    "batch_size",
    "micro_batch",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "schedule",
    "checkpoint_images",
    "precision",
)
QUICK = {"height": 32, "width": 16, "epochs": 1, "batch_size": 8, "micro_batch": 8}


def embedded() -> Config:
    """The embedded profile's parameters."""
    return Config()


def recipes(quick: bool) -> dict[str, ReidConfig]:
    """Both recipes, equal in everything of `SCALE`."""
    size = QUICK if quick else SIZE
    study = ReidConfig.model_validate(embedded().reid.model_dump() | size)
    strong = compose("strong", ROOT / "profiles").reid.model_dump()
    scale = {key: value for key, value in study.model_dump().items() if key in SCALE}
    return {"study": study, "strong": ReidConfig.model_validate(strong | scale)}


def population(folder: Path, height: int, width: int, quick: bool) -> tuple[Side, Side, Side]:
    """Training images, queries and gallery of the embedded profile's rendered pedestrians."""
    config = embedded().data
    assert config.rendered is not None
    size = config.rendered.model_dump()
    if quick:
        size |= {"train_persons": 8, "test_persons": 3, "images_per_person": 8}
        size |= {"distractors": 2, "junk": 2}
        config = config.model_copy(update={"validation_persons": 2})
    render_population(folder / "data", **size, workers=1)
    manifest, problems = prepare_manifest(folder / "data", folder, config, seed=1)
    assert problems.empty, problems

    def load(rows):  # type: ignore[no-untyped-def]
        images: Images = load_images(rows, folder, height, width)
        return Side(rows, images)

    query, gallery = test_protocol(manifest)
    return load(manifest[manifest["split"] == "train"]), load(query), load(gallery)


def measure(
    name: str, config: ReidConfig, seed: int, sides: tuple[Side, Side, Side], folder: Path
) -> dict[str, float]:
    """Train and evaluate one recipe with one seed, or read what that gave before."""
    mark = fingerprint(config, *sides[0].rows["sha256"])
    path = folder / f"{name}-{seed}-{mark}.json"
    if not path.is_file():
        train, query, gallery = sides
        session, began = Session(seed, config.precision), time.monotonic()
        resume = ResumeState(folder / "resume", f"{name}-{seed}", mark)
        model, _ = train_reid(
            config,
            train.images,
            train.rows["person_id"].tolist(),
            session=session,
            resume=resume,
            tracker=NullTracker(),
            initial=None,
            validate=None,
        )
        result = evaluate(Embedder(model, device=session.device), query, gallery).ranking.summary()
        result["seconds"] = time.monotonic() - began
        path.write_text(json.dumps(result))
        resume.discard()
    summary: dict[str, float] = json.loads(path.read_text())
    print(
        f"{name} seed {seed}: " + ", ".join(f"{m} {summary[m]:.4f}" for m in MEASURES), flush=True
    )
    return summary


def main() -> None:
    """Measure what is not measured yet, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / ".lookalike" / "recipes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--quick", action="store_true", help="tiny images, a few steps")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)

    configs = recipes(arguments.quick)
    height, width = configs["study"].height, configs["study"].width
    sides = population(arguments.folder, height, width, arguments.quick)
    table: dict[str, np.ndarray] = {}
    for seed in arguments.seeds:
        for name, config in configs.items():
            result = measure(name, config, seed, sides, arguments.folder)
            row = np.array([[result[m] for m in MEASURES]])
            table[name] = np.concatenate([table[name], row]) if name in table else row

    train, query, gallery = (len(side.images) for side in sides)
    print(f"\n{train} training images, {query} queries, {gallery} in the gallery, {height}x{width}")
    print(f"{len(arguments.seeds)} seeds, percent: mean +- standard deviation over seeds")
    print(f"{'':12}" + "".join(f"{m:>16}" for m in MEASURES))
    rows = {**table, "difference": table["strong"] - table["study"]}
    for name, values in rows.items():
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(len(MEASURES), np.nan)
        cells = zip(100 * values.mean(axis=0), 100 * spread, strict=True)
        print(f"{name:12}" + "".join(f"{mean:9.2f} +- {std:4.2f}" for mean, std in cells))


if __name__ == "__main__":
    main()
