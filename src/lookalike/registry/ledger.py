"""The decision log in MLflow, and the aliases, tags and copies that follow from it.

MLflow's alias is a plain write: the last one wins and nothing remembers what was there before. But
MLflow numbers the versions of a registered model without gaps, and writes each with its tags in one
transaction. So decisions about a model are versions of a second one, `NAME-decisions`: one write
makes a decision, whole or not at all, and orders it among those of other processes and machines.
All else follows from the log: what a killed process had not written yet, the next decision writes.
"""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.artifacts import ARTIFACTS
from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.names import CANDIDATE, CHAMPION, PREVIOUS
from lookalike.progress import say
from lookalike.registry.decisions import (
    FORCED,
    MOVED,
    PROMOTED,
    REFUSED,
    RETIRED,
    ROLLED_BACK,
    UNCHANGED,
    Action,
    Decision,
    Entry,
    History,
    keep_copies,
    lost_copies,
    read_history,
)
from lookalike.registry.verdict import Gate, failures
from lookalike.store import connect, locked, own_folder, quoted, short_name

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# Before the digest: nobody can change a version's source. A server wants an absolute path.
SOURCE = "lookalike-decision:/sha256/"
RECORD = "lookalike.record"  # the tag with an entry's text
APPLIED = "lookalike.applied"  # on the log itself: digest of the last entry that aliases follow
GRACE = 1.0  # seconds after which an alias that differs from the log was moved by somebody
ABOUT = (
    "What was decided about {model}, by whom and why: a version each, in order. Only lookalike "
    "writes here; `lookalike registry verify` shows whether anything was changed or taken out."
)


@dataclass(frozen=True)
class VersionInfo:
    """A line of `lookalike registry show`."""

    version: int
    aliases: tuple[str, ...]
    created: str  # UTC, ISO 8601
    arm: str
    run_id: str
    decision: str  # the last one about this version; "" for none
    replaced: int | None  # the champion before it, where it was promoted
    tags: Mapping[str, str]


class Ledger:
    """Who is champion of one registered model, and how it came about.

    Args:
        config: the registered model's name.
        root: the repository root.
    """

    def __init__(self, config: Config, root: Path):
        self.config, self.root, self.name = config, root, config.registry.model
        self.store = connect(config, root)
        self.log = f"{self.name}-decisions"
        # Of each store alone: decisions are not missing from a log that they were not made in.
        store = short_name(self.store.uri, root)
        self.copies = own_folder(root) / "decisions" / self.name / store

    def champion(self) -> int | None:
        """The champion's version; None where there is none."""
        return self.history().champion

    def without_champion(self) -> str:
        """Why there is no champion, and the command that gets one, in one line."""
        if self._versions():
            return (
                f"no version of {self.name} is champion; `lookalike promote VERSION --dry-run` "
                "says what speaks against one"
            )
        if (self.root / ARTIFACTS.register.verdict).is_file():
            return (
                f"{self.name} has no version in this MLflow store, but the pipeline's results are "
                "here; `lookalike registry restore` registers and judges them"
            )
        return (
            f"{self.name} has no version yet; run `dvc repro`, or, if the results are in a DVC "
            "remote, `dvc pull` and then `lookalike registry restore`"
        )

    def history(self) -> History:
        """What was decided; the champion is the alias', should somebody have moved it."""
        history = self._read()
        if not history.applied:
            return history
        return replace(history, champion=self._aliases().get(CHAMPION))

    def rollback(self, reason: str = "") -> Decision:
        """Give the alias back to the champion before, and take this one out of the champions.

        Where a rollback was interrupted, this finishes that one.

        Args:
            reason: a person's; goes on record.

        Raises:
            UserError: there is no champion, or none before it, or the log was tampered with.
        """

        def back(history: History) -> Decision:
            before = history.champion
            if before is None:
                raise UserError(f"{self.name} has no champion to roll back")
            earlier = self._earlier(history, self._versions())
            if not earlier:
                raise UserError(
                    f"nobody is left to roll {self.name} back to: version {before} is its only "
                    "champion that was neither rolled back nor deleted; `lookalike promote` "
                    "makes another version champion"
                )
            return self.decision(ROLLED_BACK, before, before, earlier[-1], reason=reason)

        return self.decide(back, lambda decision: decision.action == ROLLED_BACK)

    def retire(self, versions: Collection[int], reason: str) -> list[Decision]:
        """Put versions out of use for good; what is retired already stays so.

        Where the champion is among them, the latest champion before that is not takes its place;
        where there is none, nobody is champion until a version is promoted.

        Args:
            versions: of this model.
            reason: goes on record.

        Returns:
            The decisions, the champion's last.

        Raises:
            UserError: the log was tampered with.
        """
        champion = self.champion()

        def out(version: int) -> Decision:
            def judge(history: History) -> Decision:
                before = history.champion
                if version in history.retired:
                    return self.decision(UNCHANGED, version, before, before)
                after = before
                if before == version:
                    earlier = self._earlier(history, self._versions())
                    after = next((v for v in reversed(earlier) if v not in versions), None)
                return self.decision(RETIRED, version, before, after, reason=reason)

            def same(decision: Decision) -> bool:
                return decision.action == RETIRED and decision.version == version

            return self.decide(judge, same)

        return [out(version) for version in sorted(versions, key=lambda v: (v == champion, v))]

    def decide(
        self, judge: Callable[[History], Decision], same: Callable[[Decision], bool]
    ) -> Decision:
        """Decide, write the decision, and let aliases and copies follow.

        Judging takes a while, so it happens outside of the lock. If another decision came first,
        it is done again in knowledge of that one. A refusal for the same reasons as the last
        decision about the version is not written again.

        Args:
            judge: a decision about what is known.
            same: whether a decision is what is asked for here. If it was made and its process
                killed before aliases followed, it is finished and not made twice.
        """
        while True:
            with locked(self.root):
                finished = self._read().applied
                history = self._settle()
            if not finished and same(history.entries[-1].decision):
                return history.entries[-1].decision
            decision = judge(history)
            last = history.last.get(decision.version)
            again = last is not None and last.key == decision.key
            if decision.action == UNCHANGED or (decision.action == REFUSED and again):
                return decision
            with locked(self.root):  # other processes of this checkout wait
                if self._settle().tail == history.tail and self._append(decision, history):
                    self._follow(decision)
                    return decision

    def _follow(self, decision: Decision) -> None:
        """Settle after a decision; a failure leaves no doubt about what was decided."""
        try:
            self._settle()
        except Exception:
            say(
                f"version {decision.version}: {decision.action}, which is on record; aliases and "
                "tags follow with the next decision"
            )
            raise

    def show(self) -> list[VersionInfo]:
        """Every version, the newest first."""
        history, aliases = self.history(), self._aliases()
        if history.champion is not None:
            aliases[CHAMPION] = history.champion
        replaced = {
            entry.decision.version: entry.decision.champion_before
            for entry in history.entries
            if entry.decision.action in (PROMOTED, FORCED)
        }
        lines = []
        for found in self._versions():
            version, tags = int(found.version), found.tags
            created = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
            last = history.last.get(version)
            lines.append(
                VersionInfo(
                    version=version,
                    aliases=tuple(sorted(name for name, v in aliases.items() if v == version)),
                    created=created.isoformat(),
                    arm=tags.get("lookalike.arm", ""),
                    run_id=found.run_id or "",
                    decision=last.action if last else "",
                    replaced=replaced.get(version),
                    tags=dict(tags),
                )
            )
        return lines

    def verify(self) -> tuple[History, list[str]]:
        """The log, and what is wrong with it or with what follows from it, a line each."""
        history, alias = self._read(), self._aliases().get(CHAMPION)
        problems = [*history.problems, *lost_copies(history, self.copies)]
        if history.applied and alias != history.champion:
            problems.append(
                f"the alias {CHAMPION} is at version {alias}, the log says {history.champion}: "
                "somebody moved it outside of lookalike; the next decision puts that on record"
            )
        return history, problems

    def decision(
        self,
        action: Action,
        version: int,
        before: int | None,
        after: int | None,
        gates: tuple[Gate, ...] = (),
        reason: str = "",
    ) -> Decision:
        """A decision of this moment and of whoever runs this process."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return Decision(action, version, before, after, gates, now, _who(), reason)

    def _settle(self) -> History:
        """Let aliases, tags and copies follow the log; only under the lock."""
        suspected: tuple[str, int | None] | None = None
        while True:
            history, aliases = self._read(), self._aliases()
            if history.problems:
                raise UserError(
                    f"the decision log {self.log} was tampered with ({history.problems[0]}): "
                    "restore MLflow's database, or delete that registered model in MLflow's UI "
                    f"and move {self.copies} away, to begin a new log with the present champion"
                )
            moved_to = aliases.get(CHAMPION)
            if history.applied and moved_to != history.champion:
                if suspected != (history.tail, moved_to):
                    # Another machine may be about to mend an alias that it wrote too late.
                    suspected = history.tail, moved_to
                    time.sleep(GRACE)
                    continue
                # No log of lookalike's yet, or somebody used MLflow's UI. It goes on record.
                subject = moved_to or history.champion
                assert subject is not None
                self._append(self.decision(MOVED, subject, history.champion, moved_to), history)
                continue
            keep_copies(history, self.copies)
            self._set_aliases(history, aliases)
            if history.applied:
                return history
            self._set_tags(history)
            # Another machine may have decided meanwhile, and have set the aliases before us.
            if self._read().tail == history.tail:
                client = self.store.client
                _write(client.set_registered_model_tag, self.log, APPLIED, history.tail)
                return replace(history, applied=True)

    def _read(self) -> History:
        models = self.store.client.search_registered_models(f"name = {quoted(self.log)}")
        if not models:
            return History()
        # In this order: what was applied must be among the entries.
        applied = models[0].tags.get(APPLIED, "")
        entries = [
            Entry(
                int(version.version),
                str(version.source).removeprefix(SOURCE),
                version.tags.get(RECORD, ""),
            )
            for version in self._versions(self.log)
        ]
        return read_history(entries, applied)

    def _append(self, decision: Decision, history: History) -> bool:
        """Write a decision that was made in knowledge of `history`; False if it came too late."""
        from mlflow.exceptions import MlflowException

        client = self.store.client
        if not client.search_registered_models(f"name = {quoted(self.log)}"):
            try:
                client.create_registered_model(self.log, description=ABOUT.format(model=self.name))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody else's first decision
                    raise
        entry = Entry.following(history.tail, 0, decision)
        made = client.create_model_version(
            self.log,
            SOURCE + entry.digest,
            tags={RECORD: entry.text, "lookalike.decision": decision.action},
            description=decision.as_markdown(),
            await_creation_for=0,
        )
        return int(made.version) in {counted.number for counted in self._read().entries}

    def _aliases(self) -> dict[str, int]:
        """The model's aliases and their versions."""
        # Not get_model_version_by_alias: it raises alike for a missing alias and a wrong name.
        models = self.store.client.search_registered_models(f"name = {quoted(self.name)}")
        return {alias: int(v) for alias, v in models[0].aliases.items()} if models else {}

    def _set_aliases(self, history: History, aliases: dict[str, int]) -> None:
        client, there = self.store.client, self._versions()
        newest = int(there[0].version) if there else None
        earlier = self._earlier(history, there)
        was_champion = {entry.decision.champion_after for entry in history.entries}
        old = newest in was_champion or newest in history.retired
        wanted = {
            CHAMPION: history.champion,
            PREVIOUS: earlier[-1] if earlier else None,
            CANDIDATE: None if old else newest,
        }
        for alias, version in wanted.items():
            if version is None and alias in aliases:
                client.delete_registered_model_alias(self.name, alias)
            elif version is not None and version != aliases.get(alias):
                _write(client.set_registered_model_alias, self.name, alias, str(version))

    def _set_tags(self, history: History) -> None:
        """The last decision about each version, where MLflow's UI shows it."""
        client = self.store.client
        for version in self._versions():
            decision = history.last.get(int(version.version))
            if decision is None or version.tags.get("lookalike.decided") == decision.time:
                continue
            for key, value in {
                "lookalike.decision": decision.action,
                "lookalike.failed_gates": ", ".join(failures(decision.gates))[:5000],
                "lookalike.decided": decision.time,  # the last: it says that the others are there
            }.items():
                if value:
                    _write(client.set_model_version_tag, self.name, version.version, key, value)
                elif key in version.tags:
                    client.delete_model_version_tag(self.name, version.version, key)

    def _earlier(self, history: History, there: list[ModelVersion]) -> list[int]:
        """Champions that a rollback may return to, the latest last; some may be deleted."""
        numbers = {int(version.version) for version in there}
        return [v for v in history.champions if v in numbers and v != history.champion]

    def version(self, version: int) -> ModelVersion:
        """One version of this model, as MLflow knows it.

        Raises:
            UserError: there is none; says which there are.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self.store.client.get_model_version(self.name, str(version))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            known = ", ".join(str(v.version) for v in self._versions()) or "none"
            raise UserError(f"{self.name} has no version {version} (there is: {known})") from error

    def check_in_use(self, history: History, version: int) -> None:
        """Refuse a version that was put out of use.

        Raises:
            UserError: it was retired; says why.
        """
        if version in history.retired:
            why = history.last[version].reason
            raise UserError(
                f"{self.name} v{version} was retired ({why}) and must not be used any more; choose "
                "another version, `lookalike registry show` lists them"
            )

    def _versions(self, name: str = "") -> list[ModelVersion]:
        """Every version of this model, or of another one, the newest first."""
        found: list[ModelVersion] = []
        token = None
        while True:
            page = self.store.client.search_model_versions(
                f"name = {quoted(name or self.name)}", max_results=10_000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return sorted(found, key=lambda version: -int(version.version))


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _write(write: Callable[..., object], *values: object) -> None:
    """Write a tag or an alias; again if another machine has made its row at the same moment."""
    from mlflow.exceptions import MlflowException

    try:
        write(*values)
    except MlflowException as error:
        # As SQLite, PostgreSQL and MySQL call it; a server passes the text on.
        if not any(name in str(error) for name in ("UNIQUE", "UniqueViolation", "Duplicate entry")):
            raise
        write(*values)
