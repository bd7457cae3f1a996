"""The registry: versions with their evidence, and the alias `champion` behind the gates.

MLflow's alias is a plain write: the last one wins, and nothing remembers what was there before. So
a promotion reads the champion, decides, reads it again and stops if it moved, writes, and reads
back; the champion that was replaced is recorded on the new one, and every decision is kept.

What packs and tries models is imported when it is needed: it brings PyTorch and the ONNX exporter,
and most questions to the registry are about tables.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.names import CHAMPION
from lookalike.progress import say
from lookalike.registry.evidence import EVIDENCE, METRICS, Evidence, Measurement
from lookalike.registry.gates import Gate, evaluate_gates, failures
from lookalike.registry.model_card import model_card
from lookalike.store import connect, locked, quoted
from lookalike.tracking import MlflowTracker

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

FOLDER = "candidate"  # the run's artifact folder with evidence and pictures
PICTURES = "pictures"  # in that folder
ROLLED_BACK: Final = "rolled back"
MODEL = "model"  # the packed model, where it is downloaded
Action = Literal["promoted", "refused", "unchanged", "rolled back"]


class ChampionMovedError(UserError):
    """Somebody else changed the alias between reading and writing."""


@dataclass(frozen=True)
class Decision:
    """What was decided about a version, and why; kept for good unless it is a dry run.

    Attributes:
        action: what happened, or would happen.
        version: the version that was judged.
        champion_before, champion_after: the alias' version; None for no champion.
        gates: every verdict; empty for a rollback.
        time: UTC, ISO 8601.
        dry_run: whether nothing was written.
    """

    action: Action
    version: int
    champion_before: int | None
    champion_after: int | None
    gates: tuple[Gate, ...]
    time: str
    dry_run: bool = False

    @property
    def key(self) -> str:
        """Twelve digits that two equal decisions share: times and latencies are left out."""
        verdicts = [(gate.name, gate.bound, gate.passed) for gate in self.gates]
        parts = [self.version, self.champion_before, self.champion_after, verdicts]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "key": self.key, "gates": [gate.as_dict() for gate in self.gates]}


@dataclass(frozen=True)
class VersionInfo:
    """A line of `lookalike registry show`."""

    version: int
    champion: bool
    created: str  # UTC, ISO 8601
    arm: str
    run_id: str
    decision: str  # the last one about this version; "" for none
    predecessor: str  # the version that it replaced as champion; "" for none
    tags: Mapping[str, str]


class Registry:
    """Versions of one registered model.

    Args:
        config: names, and the gates' bounds.
        root: the repository root.
    """

    def __init__(self, config: Config, root: Path):
        self.config, self.root, self.name = config, root, config.registry.model
        self.store = connect(config, root)

    def register(
        self,
        tracker: MlflowTracker,
        arm: str,
        weights: Path,
        evidence: Evidence,
        pictures: Sequence[bytes],
    ) -> int:
        """Add a version, or find the one that was made of the same weights and measurements.

        Args:
            tracker: the run that registers; evidence, model card and model are kept with it.
            arm: the augmentation arm that trained the model.
            weights: file of `reid.model.save_reid`.
            evidence: for the gates, now and whenever the version is judged again.
            pictures: a few encoded test images, which the serving gate sends to the model.
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
                **{f"lookalike.{k}": f"{v:.6g}" for k, v in evidence.evaluation.metrics.items()},
            }
            card = model_card(self.name, arm, evidence, self.config)
            (folder / "model_card.md").write_text(card)
            tracker.artifact(folder, FOLDER)
            return self._create_version(tracker, weights, Path(scratch) / "model", tags, card)

    def promote(
        self,
        version: int,
        *,
        dry_run: bool = False,
        by_hand: bool = False,
        remeasure: Callable[[Path], Measurement] | None = None,
    ) -> Decision:
        """Judge a version by all gates, and make it champion if every one passes.

        The same decision twice writes nothing the second time. A champion is judged against itself
        and stays what it is.

        Args:
            version: of the registered model.
            dry_run: decide, and write nothing.
            by_hand: a person asks for this version; a pipeline must not promote again what
                somebody rolled back.
            remeasure: measures the champion's weights file on the current evaluation data; used
                where the champion was measured on other data. Without it such a candidate is
                refused.

        Raises:
            UserError: there is no such version.
            ChampionMovedError: the alias changed meanwhile; nothing was written.
        """
        from lookalike.registry.serving import check_serving

        before = self.champion()
        with self._downloaded(version, model=True) as place:
            folder = place / FOLDER
            evidence = Evidence.read(folder)
            champion = self._champion_evaluation(before, evidence.evaluation, remeasure)
            pictures = [path.read_bytes() for path in sorted((folder / PICTURES).iterdir())]
            check, loads_safely = check_serving(place / MODEL, pictures)
        tags = self._version(version).tags
        rolled_back = not by_hand and tags.get("lookalike.decision") == ROLLED_BACK
        gates = tuple(
            evaluate_gates(evidence, champion, check, loads_safely, rolled_back, self.config.gates)
        )
        passed = not failures(gates)
        action: Action = "promoted" if passed else "refused"
        after = version if passed else before
        if before == version:
            action, after = "unchanged", before
        decision = Decision(action, version, before, after, gates, _now(), dry_run)
        if dry_run or action == "unchanged":
            return decision
        if passed:
            # First the way back, then the change: a crash in between loses nothing.
            self._compare_and_set(before, version, {"lookalike.predecessor": str(before or "")})
        elif rolled_back or tags.get("lookalike.decision_key") == decision.key:
            return decision  # refused again for the same reasons, or still rolled back
        self._keep(decision)
        return decision

    def rollback(self) -> Decision:
        """Give the alias back to the version that the champion replaced.

        Raises:
            UserError: there is no champion, or it replaced none.
            ChampionMovedError: the alias changed meanwhile; nothing was written.
        """
        before = self.champion()
        if before is None:
            raise UserError(f"{self.name} has no champion to roll back")
        predecessor = self._version(before).tags.get("lookalike.predecessor", "")
        if not predecessor:
            raise UserError(f"{self.name} v{before} replaced no champion; nothing to roll back to")
        after = int(predecessor)
        self._version(after)  # it may have been deleted
        self._compare_and_set(before, after, {})
        decision = Decision(ROLLED_BACK, before, before, after, (), _now())
        self._keep(decision)
        return decision

    def champion(self) -> int | None:
        """The champion's version; None where there is none."""
        # Not get_model_version_by_alias: it raises alike for a missing alias and a wrong name.
        models = self.store.client.search_registered_models(f"name = {quoted(self.name)}")
        alias = models[0].aliases.get(CHAMPION) if models else None
        return None if alias is None else int(alias)

    def show(self) -> list[VersionInfo]:
        """Every version, the newest first."""
        champion = self.champion()
        return [
            VersionInfo(
                version=int(v.version),
                champion=int(v.version) == champion,
                created=datetime.fromtimestamp(v.creation_timestamp / 1000, UTC).isoformat(),
                arm=v.tags.get("lookalike.arm", ""),
                run_id=v.run_id or "",
                decision=v.tags.get("lookalike.decision", ""),
                predecessor=v.tags.get("lookalike.predecessor", ""),
                tags=dict(v.tags),
            )
            for v in self._versions()
        ]

    def _versions(self) -> list[ModelVersion]:
        found = self.store.client.search_model_versions(
            f"name = {quoted(self.name)}", max_results=10_000
        )
        return sorted(found, key=lambda v: -int(v.version))

    def _version(self, version: int) -> ModelVersion:
        from mlflow.exceptions import MlflowException

        try:
            return self.store.client.get_model_version(self.name, str(version))
        except MlflowException as error:
            known = ", ".join(str(v.version) for v in self._versions()) or "none"
            raise UserError(f"{self.name} has no version {version} (there is: {known})") from error

    def _create_version(
        self, tracker: MlflowTracker, weights: Path, folder: Path, tags: dict[str, str], card: str
    ) -> int:
        """Pack the model, keep it as the run's, and make it a version, tags and all at once."""
        from mlflow.models import Model

        from lookalike.registry.serving import save_serving_model

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
        save_serving_model(folder, weights, self.config.evaluate.flip, description)
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

        found, client = self._version(version), self.store.client
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

    def _compare_and_set(self, before: int | None, after: int, tags: Mapping[str, str]) -> None:
        """Move the alias from `before` to `after`, unless somebody else moved it."""
        client = self.store.client
        with locked(self.root):  # other processes of this checkout wait; other machines cannot
            self._expect(before)
            for key, value in tags.items():
                client.set_model_version_tag(self.name, str(after), key, value)
            client.set_registered_model_alias(self.name, CHAMPION, str(after))
            self._expect(after)

    def _expect(self, version: int | None) -> None:
        now = self.champion()
        if now != version:
            raise ChampionMovedError(
                f"the champion of {self.name} is v{now}, not v{version} as a moment ago: "
                "somebody else changed it; look at `lookalike registry show` and try again"
            )

    def _keep(self, decision: Decision) -> None:
        """The decision as version tags, as an artifact of the version's run, and as a file."""
        client, version = self.store.client, str(decision.version)
        record = decision.as_dict()
        stamp = decision.time.replace(":", "").replace("+0000", "Z")
        name = f"{self.name}-v{version}-{stamp}-{decision.key}.json"
        failed = ", ".join(failures(decision.gates))
        for key, value in {
            "lookalike.decision": decision.action,
            "lookalike.decision_key": decision.key,
            "lookalike.decided": decision.time,
            "lookalike.failed_gates": failed[:5000],
        }.items():
            client.set_model_version_tag(self.name, version, key, value)
        run_id = _run_id(self._version(decision.version))
        client.log_dict(run_id, record, f"decisions/{name}")
        path = self.root / "mlruns" / "decisions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n")


def _digest(weights: Path, evidence: Evidence) -> str:
    """Twelve digits for a model and all that gates judge; another commit alone makes no candidate.

    Whether something was uncommitted counts: a version that was refused for it is registered anew
    once everything is committed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        replace(evidence, git_sha="").write(Path(scratch))
        digest = hashlib.sha256(weights.read_bytes())
        for name in (EVIDENCE, METRICS):
            digest.update((Path(scratch) / name).read_bytes())
    return digest.hexdigest()[:12]


def _run_id(version: ModelVersion) -> str:
    if version.run_id is None:
        raise UserError(f"{version.name} v{version.version} was not registered by lookalike")
    return version.run_id


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
