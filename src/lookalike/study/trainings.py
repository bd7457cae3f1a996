"""The trainings of a study: what each is trained on, and the key that its result is kept under."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lookalike.artifacts import ARTIFACTS
from lookalike.config import ArmPolicy, Config, ReidConfig
from lookalike.data.manifest import read_manifest, test_protocol, validation_protocol
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.progress import say
from lookalike.reid.start import starting_weights
from lookalike.study.oracle import further_images, more_test_persons, new_persons
from lookalike.study.plan import Setting, Study
from lookalike.synthesis.arms import real_rows, select
from lookalike.training.checkpoint import fingerprint

MANIFEST = ARTIFACTS.validate.manifest
TEACHER = ARTIFACTS.baseline.model  # of soft labels
SCRATCH = Path(".lookalike/study")  # rendered images and resume state; may be deleted
REVISION = 3  # raise it where a change of code makes other results of the same trainings

Rows = tuple[pd.DataFrame, pd.DataFrame]  # of queries and gallery


@dataclass(frozen=True)
class Measured:
    """What every model of a study is measured on.

    Attributes:
        validation: by which amounts are chosen.
        test: what is reported.
    """

    validation: Rows
    test: Rows
    batch_size: int
    flip: bool

    @property
    def key(self) -> str:
        """Digest of the images, their labels, and how they are measured."""
        frames = [*self.validation, *self.test]
        columns = ["person_id", "camera_id", "sha256"]
        return fingerprint(self.flip, *(frame[columns].to_csv(index=False) for frame in frames))


@dataclass(frozen=True)
class Training:
    """One model of a study.

    Attributes:
        setting: the arm and its amount.
        rows: manifest rows to train on, generated ones last.
        reid: the recipe.
        teacher: file of the model that gives soft labels; None: nobody does.
        key: digest of all that the result depends on, `measured` included.
    """

    setting: Setting
    seed: int
    rows: pd.DataFrame
    reid: ReidConfig
    measured: Measured
    teacher: Path | None
    key: str

    @property
    def name(self) -> str:
        """`persons-30-seed2`."""
        return f"{self.setting.name}-seed{self.seed}"

    @property
    def policy(self) -> ArmPolicy:
        """How generated images take part."""
        return self.setting.config.policy

    @property
    def generated(self) -> np.ndarray:
        """Which rows are generated, or stand for such: bool [N]."""
        return (self.rows["origin"] != "real").to_numpy()

    @property
    def images(self) -> int:
        """To be seen in training; with a `batch_share`, real ones."""
        pooled = self.policy.batch_share is None
        return self.reid.epochs * (len(self.rows) if pooled else int((~self.generated).sum()))

    @property
    def shown(self) -> int:
        """The same with the generated ones that stand beside them: what the time goes with."""
        share, epochs = self.policy.batch_share or 0.0, self.reid.epochs
        first, last = self.policy.epochs or (0, epochs)
        return round(self.images * (1 + share / (1 - share) * (last - first) / epochs))


def plan_trainings(study: Study, config: Config, root: Path) -> list[Training]:
    """Every training of the study: seed by seed, so that whatever is done first is paired.

    What an arm adds is read from the pipeline's artifacts, or rendered for an oracle.

    Raises:
        UserError: artifacts are missing, or an arm has no image to add.
    """
    manifest = read_manifest(root / MANIFEST)
    measured = Measured(
        validation_protocol(manifest),
        _test_rows(manifest, study, config, root),
        config.evaluate.batch_size,
        config.evaluate.flip,
    )
    rows: dict[str, tuple[Setting, pd.DataFrame]] = {}
    for setting in study.settings:
        real = real_rows(manifest, setting.config)
        images = pd.concat([real, *_added(setting, study, manifest, config, root)])
        same = [n for n, (s, r) in rows.items() if s.arm == setting.arm and len(r) == len(images)]
        if same:
            say(f"{setting.name}: there are no more images than in {same[0]}; left out")
            continue
        rows[setting.name] = (setting, images.reset_index(drop=True))
    _, start = starting_weights(study.reid, root)
    return [
        _training(setting, seed, images, study.reid, measured, start, root)
        for seed in study.seeds
        for setting, images in rows.values()
    ]


def _training(
    setting: Setting,
    seed: int,
    rows: pd.DataFrame,
    reid: ReidConfig,
    measured: Measured,
    start: str,
    root: Path,
) -> Training:
    teacher = root / TEACHER if setting.config.asks_baseline else None
    if teacher and not teacher.is_file():
        raise UserError(
            f"arms.{setting.arm}: label: {setting.config.label} needs {TEACHER}; run `dvc repro`"
        )
    taught = sha256_file(teacher) if teacher else ""
    recipe = json.dumps([reid.recipe, setting.config.policy.model_dump()], sort_keys=True)
    images = zip(rows["person_id"], rows["origin"], rows["sha256"], strict=True)
    key = fingerprint(REVISION, seed, recipe, start, taught, measured.key, *images)
    return Training(setting, seed, rows, reid, measured, teacher, key)


def _test_rows(manifest: pd.DataFrame, study: Study, config: Config, root: Path) -> Rows:
    query, gallery = test_protocol(manifest)
    if not study.more_test_persons:
        return query, gallery
    if config.data.rendered is None or config.data.source != "rendered":
        raise UserError(
            "more_test_persons are rendered, as only rendered data can have them; data.source is "
            f"{config.data.source}"
        )
    more = more_test_persons(study.more_test_persons, config.data.rendered, root, SCRATCH)
    query, gallery = (
        pd.concat(sides, ignore_index=True) for sides in zip((query, gallery), more, strict=True)
    )
    return query, gallery


def _added(
    setting: Setting, study: Study, manifest: pd.DataFrame, config: Config, root: Path
) -> list[pd.DataFrame]:
    """The rows that a setting adds, kind by kind."""
    found = []
    for kind in setting.config.images:
        if kind == "none":
            continue
        if setting.oracle:
            kept = _oracle(kind, setting.arm, study.settings, manifest, config, root)
        else:
            stage = ARTIFACTS.filter if setting.filtered else ARTIFACTS.generate
            kept = read_manifest(root / stage(kind).manifest)
        chosen = select(kept, setting.config)
        if chosen.empty:
            raise UserError(
                f"arms.{setting.arm}: the filters kept no image of the kind {kind}; relax "
                "filter.*, or take the arm out of the study"
            )
        found.append(chosen)
    return found


def _oracle(
    kind: str,
    arm: str,
    settings: Sequence[Setting],
    manifest: pd.DataFrame,
    config: Config,
    root: Path,
) -> pd.DataFrame:
    """As many rendered images of a kind as the arm's largest amount asks for.

    Where the arm has no limit, as many as the pipeline generates before the filters.
    """
    arms = [setting.config for setting in settings if setting.arm == arm]
    generate = config.generate

    def largest(limits: list[int | None], default: int) -> int:
        return max((default if limit is None else limit) for limit in limits)

    per_person = [one.max_images_per_person for one in arms]
    if kind == "persons":
        count = largest([one.max_persons for one in arms], generate.persons.count)
        images = largest(per_person, generate.persons.images_per_person)
        return new_persons(count, images, root, SCRATCH)
    if kind != "variations":
        raise UserError(f"arms.{arm}: nothing rendered can stand in for {kind}; leave out oracle")
    assert config.data.rendered is not None, "load_study has checked the source"
    images = largest(per_person, generate.variations.images_per_person)
    train = manifest[manifest["split"] == "train"]
    return further_images(train, config.data.rendered.seed, images, root, SCRATCH)
