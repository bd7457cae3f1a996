"""A folder of pictures in, a re-ID model out: the pipeline's training without DVC and MLflow."""

from __future__ import annotations

from pathlib import Path

from lookalike.arguments import new_weights_file
from lookalike.config import Config
from lookalike.data.layouts.layout import Layout
from lookalike.data.loading import load_images
from lookalike.data.manifest import test_protocol
from lookalike.data.prepare import matches, read_sound
from lookalike.errors import UserError
from lookalike.names import counted
from lookalike.progress import say
from lookalike.reid.embedder import Embedder
from lookalike.reid.evaluation import measure, measured_ranks
from lookalike.reid.model import save_reid
from lookalike.reid.start import starting_weights
from lookalike.reid.trainer import train_reid
from lookalike.tracking import NullTracker
from lookalike.training.checkpoint import ResumeState, fingerprint
from lookalike.training.session import Session

RESUME = Path(".lookalike/resume")
NAMED = 10  # files left out that are named


def train_on_folder(folder: Path, output: Path, layout: Layout, config: Config) -> dict[str, float]:
    """Train on all train images of a folder, write the model, and measure it where that can be.

    No person is held out: the weights are the last ones. A run that was killed goes on where it
    was when the same call is made again; its state is kept below `RESUME` of the working directory
    until the model is written.

    Args:
        folder: the pictures.
        output: the safetensors file to write, as a stage of the pipeline would.
        layout: how the folder is laid out; one with queries and a gallery is measured.
        config: its `reid`, `seed` and `evaluate`.

    Returns:
        `Evaluation.summary` on the queries; empty where the folder has none.

    Raises:
        UserError: not the layout, fewer than two persons, no query with a match, weights that are
            missing, or an output that cannot be written.
    """
    reid = config.reid
    new_weights_file(output)  # rather than after hours
    session = Session(config.seed, reid.precision)
    initial, start = starting_weights(reid, Path.cwd())
    manifest, problems = read_sound(folder, layout)
    if session.is_main:
        for problem in problems[:NAMED]:
            say(f"left out {problem.file}: {problem.problem}: {problem.detail}")
        if len(problems) > NAMED:
            say(f"left out {counted(len(problems) - NAMED, 'more file')}")
    rows = manifest[manifest["split"] == "train"].reset_index(drop=True)
    sides = test_protocol(manifest)
    tested = not any(side.empty for side in sides)
    if tested and not matches(*sides).any():
        raise UserError(f"{folder}: no query has its person in the gallery from another camera")

    persons = rows["person_id"].tolist()
    classes = sorted(set(persons))
    if len(classes) < 2:
        raise UserError(
            f"{folder} shows {counted(len(classes), 'person')} to train on; training needs two"
        )
    key = fingerprint(reid, config.seed, start, *zip(persons, rows["sha256"], strict=True))
    resume = ResumeState(RESUME, f"train-{output.stem}", key)
    images = load_images(rows, Path(), reid.height, reid.width, description="decode train")
    model, _ = train_reid(
        reid,
        images,
        persons,
        session=session,
        resume=resume,
        tracker=NullTracker(),
        initial=initial,
    )
    if session.is_main:
        save_reid(output, model, reid, classes)
        resume.discard()
        who = counted(len(classes), "person")
        say(f"{output}: trained on {counted(len(rows), 'image')} of {who}")
    if not tested:
        return {}
    embedder = Embedder(model, config.evaluate.batch_size, config.evaluate.flip, session.device)
    found = measure(embedder, sides, Path(), config, session)
    return found.summary(measured_ranks(config.evaluate.ranks))
