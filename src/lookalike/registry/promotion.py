"""The registry: versions with their evidence, and the alias `champion` behind the gates.

This brings PyTorch and the ONNX exporter; for questions about tables there is the `Ledger` alone.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.artifacts import Evaluated
from lookalike.errors import UserError
from lookalike.names import BASELINE
from lookalike.progress import say
from lookalike.registry.decisions import (
    FORCED,
    PROMOTED,
    REFUSED,
    UNCHANGED,
    Decision,
    History,
)
from lookalike.registry.drift import Reference
from lookalike.registry.evidence import EVIDENCE, Evidence
from lookalike.registry.gates import evaluate_gates
from lookalike.registry.ledger import Ledger
from lookalike.registry.model_card import model_card
from lookalike.registry.serving import check_serving, save_serving_model
from lookalike.registry.verdict import failures
from lookalike.reid.measurement import Measurement
from lookalike.store import locked, quoted
from lookalike.tracking import MlflowTracker

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

FOLDER = "candidate"  # the run's artifact folder with evidence and pictures
SHOWN = ("rank_1", "mAP")
PICTURES = "pictures"  # in that folder
MODEL = "model"  # the packed model, where it is downloaded


class Registry(Ledger):
    """Versions of one registered model, their evidence, and the gates on the way to champion."""

    def register(
        self,
        tracker: MlflowTracker,
        arm: str,
        weights: Path,
        evidence: Evidence,
        pictures: Sequence[bytes],
        reference: Callable[[], Reference] | None = None,
    ) -> int:
        """Add a version, or find the one that was made of the same weights and measurements.

        Args:
            tracker: the run that registers; evidence, model card and model are kept with it.
            arm: the augmentation arm that trained the model.
            weights: file of `reid.model.save_reid`.
            evidence: for the gates, now and whenever the version is judged again.
            pictures: a few encoded test images, which the serving gate sends to the model.
            reference: makes what a server compares its embeddings with; only of a new version.
        """
        client = self.store.client
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / FOLDER
            evidence.write(folder)
            candidate = _digest(weights, evidence)
            with locked(self.root):
                if not client.search_registered_models(f"name = {quoted(self.name)}"):
                    client.create_registered_model(self.name)
            for version in self._versions():
                if version.tags.get("lookalike.candidate") == candidate:
                    return int(version.version)

            (folder / PICTURES).mkdir()
            for index, picture in enumerate(pictures):
                (folder / PICTURES / f"{index:02d}.jpg").write_bytes(picture)
            tags = {
                "lookalike.candidate": candidate,
                "lookalike.arm": arm,
                "lookalike.profile": self.config.profile,
                "lookalike.git_sha": evidence.git_sha,
                "lookalike.dirty": str(bool(evidence.uncommitted)).lower(),
                "lookalike.weights_md5": evidence.weights_md5,
                "lookalike.evaluation": evidence.evaluation.fingerprint,
                # What `registry show` lists; the model card and the evidence have the rest.
                **{f"lookalike.{k}": f"{evidence.evaluation.metrics[k]:.6g}" for k in SHOWN},
            }
            card = model_card(self.name, arm, evidence, self.config)
            (folder / "model_card.md").write_text(card)
            tracker.artifact(folder, FOLDER)
            tracker.arrive()
            packed = Path(scratch) / "model"
            known = reference() if reference else None
            return self._create_version(tracker, weights, packed, tags, card, known)

    def promote(
        self,
        version: int,
        *,
        dry_run: bool = False,
        by_hand: bool = False,
        force: str = "",
        remeasure: Callable[[Path], Measurement] | None = None,
    ) -> Decision:
        """Judge a version by all gates, and make it champion if every one passes.

        The same decision twice writes nothing the second time. A champion is judged against itself
        and stays what it is. If the champion changes meanwhile, the version is judged again.

        Args:
            version: of the registered model.
            dry_run: decide, and write nothing.
            by_hand: a person asks for this version; a pipeline must not promote again what
                somebody rolled back.
            force: a person's reason to promote it even if gates fail; goes on record with the
                promotion, whether any failed or not.
            remeasure: measures the champion's weights file on the current evaluation data; used
                where the champion was measured on other data. Without it such a candidate is
                refused.

        Raises:
            UserError: there is no such version, it was retired, or the decision log was tampered
                with.
        """
        self.check_in_use(self.history(), version)
        with self._downloaded(version, model=True) as place:
            evidence = Evidence.read(place / FOLDER)
            pictures = [path.read_bytes() for path in sorted((place / FOLDER / PICTURES).iterdir())]
            check, loads_safely = check_serving(place / MODEL, pictures)
        measured: dict[int | None, Measurement | None] = {}  # by champion

        def judge(history: History) -> Decision:
            self.check_in_use(history, version)
            before = history.champion
            if before not in measured:
                measured[before] = self._champion_evaluation(before, evidence.evaluation, remeasure)
            back = not by_hand and version in history.rolled_back
            gates = evaluate_gates(
                evidence, measured[before], check, loads_safely, back, self.config.gates
            )
            if before == version:
                return self.decision(UNCHANGED, version, before, before, tuple(gates))
            if not failures(gates):
                return self.decision(PROMOTED, version, before, version, tuple(gates), force)
            if force:
                return self.decision(FORCED, version, before, version, tuple(gates), force)
            return self.decision(REFUSED, version, before, before, tuple(gates))

        if dry_run:
            return replace(judge(self.history()), dry_run=True)

        def same(decision: Decision) -> bool:
            return decision.version == version and decision.action in (PROMOTED, FORCED)

        return self.decide(judge, same)

    @contextmanager
    def evidence_of(self, version: int) -> Iterator[Path]:
        """The folder with a version's evidence, for a while.

        Raises:
            UserError: there is no such version.
        """
        with self._downloaded(version, model=False) as place:
            yield place / FOLDER

    def _create_version(
        self,
        tracker: MlflowTracker,
        weights: Path,
        folder: Path,
        tags: dict[str, str],
        card: str,
        reference: Reference | None,
    ) -> int:
        """Pack the model, keep it as the run's, and make it a version, tags and all at once."""
        from mlflow.models import Model

        client = self.store.client
        logged = client.create_logged_model(
            self.store.experiment_id, name=self.name, source_run_id=tracker.run_id
        )
        description = Model(
            artifact_path=logged.artifact_location,
            run_id=tracker.run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        )
        flip = self.config.evaluate.flip
        save_serving_model(folder, weights, flip, description, reference)
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
        with self.store.selected():
            version = client.create_model_version(
                self.name,
                f"models:/{logged.model_id}",
                run_id=tracker.run_id,
                model_id=logged.model_id,
                tags=tags,
                description=card,
            )
        return int(version.version)

    @contextmanager
    def _downloaded(self, version: int, *, model: bool) -> Iterator[Path]:
        """A version's evidence, and its packed model if asked for, in a folder for a while."""
        import mlflow.artifacts

        found, client = self.version(version), self.store.client
        with tempfile.TemporaryDirectory() as scratch:
            client.download_artifacts(_run_id(found), FOLDER, scratch)
            if model:
                uri = client.get_model_version_download_uri(self.name, str(version))
                with self.store.selected():
                    copied = mlflow.artifacts.download_artifacts(uri, dst_path=scratch)
                Path(copied).rename(Path(scratch) / MODEL)  # the store chooses the folder's name
            yield Path(scratch)

    def _champion_evaluation(
        self,
        champion: int | None,
        candidate: Measurement,
        remeasure: Callable[[Path], Measurement] | None,
    ) -> Measurement | None:
        if champion is None:
            return None
        with self._downloaded(champion, model=False) as place:
            recorded = Measurement.read(place / FOLDER)
        if recorded.fingerprint == candidate.fingerprint or remeasure is None:
            return recorded
        with self._downloaded(champion, model=True) as place:
            (weights,) = (place / MODEL / "artifacts").glob("*.safetensors")
            try:
                return remeasure(weights)
            except UserError as error:  # say, of an older format
                # The evaluations differ, so the relative gates refuse; nothing is lost.
                say(f"the champion, {self.name} v{champion}, cannot be measured again: {error}")
                return recorded


def _digest(weights: Path, evidence: Evidence) -> str:
    """Twelve digits for a model and all that gates judge; another commit alone makes no candidate.

    Whether something was uncommitted counts: a version that was refused for it is registered anew
    once everything is committed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        digest, folder = hashlib.sha256(weights.read_bytes()), Path(scratch)
        replace(evidence, git_sha="").write(folder)
        evaluations = Evaluated(folder), Evaluated(folder / BASELINE)
        for path in (folder / EVIDENCE, *(made.metrics for made in evaluations)):
            digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:12]


def _run_id(version: ModelVersion) -> str:
    if version.run_id is None:
        raise UserError(f"{version.name} v{version.version} was not registered by lookalike")
    return version.run_id
