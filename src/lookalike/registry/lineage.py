"""Where a model, an image or a person is from, and what came of it: from manifests and registry.

Every image is a row of a manifest, generated rows name what they were made of, every trained
network has the rows that it saw beside it, and every version of the registry the persons that its
networks saw.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException

from lookalike.artifacts import Artifacts
from lookalike.data.loading import CACHE
from lookalike.data.manifest import partners_of, read_manifest
from lookalike.errors import UserError
from lookalike.files import md5_file
from lookalike.names import counted
from lookalike.programs import run_program
from lookalike.registry.evidence import Evidence, read_persons
from lookalike.registry.kept import KeptPicture, delete_pictures, kept_pictures
from lookalike.registry.promotion import PICTURES, Registry
from lookalike.tracking import waiting_folder

HELD_OUT = ("val", "query", "gallery")  # splits that gates keep out of every training
NOBODY = ("distractor", "junk")  # rows of no person


@dataclass(frozen=True)
class Tables:
    """The manifests of a checkout.

    Attributes:
        real: every real image.
        made: generated images, by the stage that made or kept them.
        seen: what networks were trained on, by stage.
    """

    real: pd.DataFrame
    made: dict[str, pd.DataFrame]
    seen: dict[str, pd.DataFrame]

    @classmethod
    def read(cls, artifacts: Artifacts) -> Tables:
        """Read those that the pipeline has written so far.

        Raises:
            UserError: there is not even one of the real images.
        """
        found = [artifacts.validate.manifest, artifacts.prepare.manifest]  # the first there is
        there = [path for path in found if path.is_file()]
        if not there:
            raise UserError(f"no manifest at {found[0]}; run `dvc repro validate`")

        def tables(*paths: Path) -> dict[str, pd.DataFrame]:
            there = sorted(path for path in paths if path.is_file())
            return {artifacts.stage_of(path): read_manifest(path) for path in there}

        generate, filtered, trained = (
            [folder.name for folder in artifacts.of(stage).glob("*")]
            for stage in ("generate", "filter", "train_reid")
        )
        made = tables(*(artifacts.generate(kind).manifest for kind in generate))
        made |= tables(*(artifacts.filter(kind).manifest for kind in filtered))
        seen = tables(artifacts.train_encoder.trained_on, artifacts.train_gan.trained_on)
        seen |= tables(*(artifacts.train_reid(arm).trained_on for arm in trained))
        return cls(read_manifest(there[0]), made, seen)

    def is_person(self, name: str) -> bool:
        """Whether a real image shows a person of this id."""
        rows = self.real[self.real["person_id"] == name]
        return not rows[~rows["split"].isin(NOBODY)].empty

    def rows_of(self, image: str) -> Iterator[tuple[str, pd.Series[Any]]]:
        """Where an image stands, by its id, its place on disk or its sha256: stage and row."""
        for stage, rows in {"data": self.real, **self.made}.items():
            same = (rows["image_id"] == image) | (rows["sha256"] == image)
            same |= (rows["member"] == image) & (rows["archive"] == "")
            for _, row in rows[same].iterrows():
                yield stage, row

    def holding(self, images: set[str], person: str = "") -> dict[str, int]:
        """How many rows of each generated or training table show a person or come of images."""
        counts = {}
        for stage, rows in {**self.made, **self.seen}.items():
            partners = partners_of(rows["recipe"])
            touched = rows["image_id"].isin(images) | rows["source_image"].isin(images)
            touched |= partners.map(lambda found: not images.isdisjoint(found))
            touched |= (rows["person_id"] == person) & (rows["origin"] != "person")
            if touched.any():
                counts[stage] = int(touched.sum())
        return counts


def of_image(tables: Tables, image: str) -> list[str]:
    """What is known about an image, a line each.

    Raises:
        UserError: no manifest has it.
    """
    found = list(tables.rows_of(image))
    if not found:
        raise UserError(f"no image {image} in the manifests: give its id, its file or its sha256")
    stage, row = found[0]
    lines = [f"image {row['image_id']}: {row['origin']}, person {row['person_id']}"]
    place = f"{row['archive']}, {row['member']}" if row["archive"] else row["member"]
    lines += [f"  bytes: {place}, sha256 {row['sha256']}", f"  split: {row['split']}"]
    if row["origin"] != "real":
        lines += [
            f"  made by: {stage}, seed {row['seed']}, recipe {row['recipe'] or 'none'}",
            f"  generator: sha256 {row['generator']}",
        ]
        lines += [f"  source: {row['source_image']}"] if row["source_image"] else []
    return lines + _held(tables.holding({str(row["image_id"])}))


def of_person(tables: Tables, person: str, registry: Registry) -> list[str]:
    """Which images show a person, what was made of them, which models saw them, a line each."""
    images = tables.real[tables.real["person_id"] == person]
    counts = images.groupby("split").size()
    listed = ", ".join(f"{split} {count}" for split, count in counts.items())
    lines = [f"person {person}: {counted(len(images), 'image')} ({listed})"]
    lines += _held(tables.holding(set(images["image_id"]), person))
    touched = touching(registry, tables, person)
    lines += [f"  {registry.name} v{version}: {why}" for version, why in touched.items()]
    return lines if touched else [*lines, f"  no version of {registry.name} saw this person"]


def of_version(registry: Registry, version: int, artifacts: Artifacts) -> list[str]:
    """Which data, code, networks and decisions made a version, a line each.

    Raises:
        UserError: there is no such version.
    """
    with registry.evidence_of(version) as place:
        evidence = Evidence.read(place)
    info = next(info for info in registry.show() if info.version == version)
    names = "".join(f" @{alias}" for alias in info.aliases)
    changed = ", with uncommitted changes" if evidence.uncommitted else ""
    lines = [
        f"{registry.name} v{version}{names}: arm {info.arm}, registered {info.created}",
        f"  weights: md5 {evidence.weights_md5}",
        f"  code: commit {evidence.git_sha}{changed}; run {info.run_id}",
        f"  evaluated on: {evidence.evaluation.fingerprint}",
    ]
    if evidence.persons is not None:
        lines.append(f"  saw {len(evidence.persons)} real persons in training")
    trained = artifacts.train_reid(info.arm)
    if trained.model.is_file() and md5_file(trained.model) == evidence.weights_md5:
        rows = read_manifest(trained.trained_on)
        counts = ", ".join(f"{kind} {n}" for kind, n in rows.groupby("origin").size().items())
        lines.append(f"  trained on: {counted(len(rows), 'image')} ({counts})")
        for generator in sorted(set(rows["generator"]) - {""}):
            seeds = rows.loc[rows["generator"] == generator, "seed"]
            lines.append(
                f"  generator: sha256 {generator}, seeds {seeds.min()} to {seeds.max()}, "
                f"filters kept {', '.join(f'{k} {v:.0%}' for k, v in evidence.pass_rates.items())}"
            )
        inputs = json.loads(trained.run.read_text())["inputs"]
        lines += [f"  input: {name} sha256 {digest}" for name, digest in inputs.items()]
    else:
        lines.append("  its training rows are not in this checkout: check out its commit, dvc pull")
    for entry in registry.history().entries:
        made = entry.decision
        if made.version == version:
            failed = sum(not gate.passed for gate in made.gates)
            gates = f", {failed} of {len(made.gates)} gates failed" if made.gates else ""
            why = f": {made.reason}" if made.reason else ""
            lines.append(f"  {made.time[:16]} {made.action} by {made.by}{gates}{why}")
    return lines


def touching(registry: Registry, tables: Tables, person: str) -> dict[int, str]:
    """Versions that know a person, and why; without those that are retired.

    What an older version saw was not recorded: it counts unless gates kept the person out.
    """
    images = tables.real[tables.real["person_id"] == person]
    digests = set(images["sha256"])
    held_out = bool(images["split"].isin(HELD_OUT).all())
    retired = registry.history().retired
    found = {}
    for info in registry.show():
        if info.version in retired:
            continue
        try:
            with registry.evidence_of(info.version) as place:
                persons = read_persons(place)
                pictures = {hashlib.sha256(p.read_bytes()).hexdigest() for p in _pictures(place)}
        except (MlflowException, OSError, UserError):
            found[info.version] = "may have seen this person: its evidence cannot be read"
            continue
        if persons is None and not held_out:
            found[info.version] = "may have seen this person: it was not recorded"
        elif persons is not None and person in persons:
            found[info.version] = "saw this person in training"
        elif pictures & digests:
            found[info.version] = "keeps a picture of this person as evidence"
    return found


@dataclass(frozen=True)
class Forgotten:
    """What forgetting a person takes.

    Attributes:
        files: to delete, relative to the root.
        rebuilt: stages whose outputs hold something of the person, with the number of rows.
        retired: versions, and why.
        pictures: files of MLflow's runs to delete, which show the person or may do so.
    """

    files: list[Path]
    rebuilt: dict[str, int]
    retired: dict[int, str]
    pictures: list[KeptPicture]


def plan_forgetting(registry: Registry, artifacts: Artifacts, person: str) -> Forgotten:
    """Find out what forgetting a person takes; changes nothing.

    Raises:
        UserError: nobody of that name, images that do not lie loose on disk, or pictures that wait
            for MLflow and would come after.
    """
    if any(waiting_folder(registry.root).glob("*")):
        raise UserError(
            f"records in {waiting_folder(registry.root)} wait for MLflow, pictures among them; let "
            "`lookalike ui` or a stage hand them over first, or delete them"
        )
    tables = Tables.read(artifacts)
    if not tables.is_person(person):
        raise UserError(f"no person {person} in the manifest; ids are as in the files' names")
    images = tables.real[tables.real["person_id"] == person]
    if (images["archive"] != "").any():
        packed = images.loc[images["archive"] != "", "archive"].iloc[0]
        raise UserError(f"images of {person} are in {packed}: take them out there")
    return Forgotten(
        [Path(member) for member in sorted(images["member"])],
        tables.holding(set(images["image_id"]), person),
        touching(registry, tables, person),
        kept_pictures(registry, set(images["sha256"])),
    )


def forget(registry: Registry, plan: Forgotten, person: str) -> None:
    """Retire versions, delete pictures and images, and have DVC record the folder without them.

    Killed in between, it ends the same when called again: versions go first, and the manifest still
    names the person until the pipeline has run.
    """
    root = registry.root
    registry.retire(plan.retired, f"forget person {person}")
    delete_pictures(registry.store, plan.pictures)
    for file in plan.files:
        (root / file).unlink(missing_ok=True)
    shutil.rmtree(root / CACHE, ignore_errors=True)  # decoded crops of everybody, made anew
    for pointer in sorted(root.glob("*.dvc")):
        if any(file.parts[0] == pointer.stem for file in plan.files):
            run_program("dvc", "add", "--quiet", pointer.stem)


def _held(counts: dict[str, int]) -> list[str]:
    return [f"  in {stage}: {counted(count, 'row')}" for stage, count in counts.items()]


def _pictures(evidence: Path) -> list[Path]:
    folder = evidence / PICTURES
    return sorted(folder.iterdir()) if folder.is_dir() else []
