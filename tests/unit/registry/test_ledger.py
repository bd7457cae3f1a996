"""Decisions in a real MLflow database: killed at every write, made by twenty processes at once."""

import json
import logging
import multiprocessing
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import mlflow.store.model_registry.sqlalchemy_store  # once here, not in each fork
import mlflow.store.tracking.sqlalchemy_store
import mlflow.tracking
import pytest
from mlflow.exceptions import MlflowException
from mlflow.server.handlers import _validate_source_run
from rich.console import Console

from lookalike.cli import main
from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.failures import last_words
from lookalike.registry import ledger as ledger_module
from lookalike.registry.decisions import PROMOTED, REFUSED, UNCHANGED, Decision, History
from lookalike.registry.ledger import SOURCE, Ledger
from lookalike.registry.verdict import Gate
from lookalike.store import short_name

REPOSITORY = Path(__file__).parents[3]
FORK = multiprocessing.get_context("fork")
WRITES = (
    (mlflow.tracking.MlflowClient, "create_registered_model"),
    (mlflow.tracking.MlflowClient, "create_model_version"),
    (mlflow.tracking.MlflowClient, "set_registered_model_alias"),
    (mlflow.tracking.MlflowClient, "delete_registered_model_alias"),
    (mlflow.tracking.MlflowClient, "set_registered_model_tag"),
    (mlflow.tracking.MlflowClient, "set_model_version_tag"),
    (mlflow.tracking.MlflowClient, "delete_model_version_tag"),
    (Path, "write_text"),
    (Path, "replace"),
)
KILLED = 9
T = TypeVar("T")


def start(work: Callable[[], T]) -> Callable[[], T]:
    """Begin `work` in a process of its own; the answer waits for its result.

    The test's own process never opens a test's database: a fork would share its connection.
    """
    receive, send = FORK.Pipe(duplex=False)
    process = FORK.Process(target=lambda: send.send(work()))
    process.start()
    send.close()

    def result() -> T:
        try:
            value: T = receive.recv()
        except EOFError:
            process.join()
            raise ChildProcessError(process.exitcode) from None
        process.join()
        return value

    return result


def run(work: Callable[[], T]) -> T:
    return start(work)()


def opened(root: Path) -> Ledger:
    return Ledger(Config(), root)


@pytest.fixture(scope="module")
def three_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with versions 1 to 3 of the model, which tests copy.

    Made and used in this process, so that what MLflow and SQLAlchemy prepare at their first use is
    there in every fork.
    """
    root = tmp_path_factory.mktemp("ledger")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        ledger = opened(root)
        client, name = ledger.store.client, ledger.name
        client.create_registered_model(name)
        for _ in range(3):
            client.create_model_version(name, "test:nothing")
        shutil.copytree(root / "mlruns", root / "untouched")
        promote_all(root, 1, 2).rollback()
        seen(root)
    return root / "untouched"


@pytest.fixture
def root(three_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(three_versions, tmp_path / "mlruns")
    return tmp_path


def promote(ledger: Ledger, version: int, *, passed: bool = True) -> Decision:
    """As `Registry.promote` does, with a verdict that is given."""
    gate = Gate("absolute.mAP", 0.5, ">= 0.3", passed, "a reason")

    def judge(history: History) -> Decision:
        before = history.champion
        if before == version:
            return ledger.decision(UNCHANGED, version, before, before, (gate,))
        if passed and version not in history.rolled_back:
            return ledger.decision(PROMOTED, version, before, version, (gate,))
        return ledger.decision(REFUSED, version, before, before, (gate,))

    def same(decision: Decision) -> bool:
        return decision.version == version and decision.action == PROMOTED

    return ledger.decide(judge, same)


def promote_all(root: Path, *versions: int) -> Ledger:
    ledger = opened(root)
    for version in versions:
        promote(ledger, version)
    return ledger


def seen(root: Path) -> dict[str, Any]:
    """What anybody can see, with MLflow alone where it is MLflow's."""
    ledger = opened(root)
    history, problems = ledger.verify()
    (model,) = ledger.store.client.search_registered_models(f"name = '{ledger.name}'")
    return {
        "decisions": [(e.decision.action, e.decision.version) for e in history.entries],
        "times": [e.decision.time for e in history.entries],
        "champions": [
            (e.decision.champion_before, e.decision.champion_after) for e in history.entries
        ],
        "problems": problems,
        "applied": history.applied,
        "champion": ledger.champion(),
        "aliases": dict(model.aliases),
        "tags": {v.version: v.tags.get("lookalike.decision") for v in ledger.show()},
        "copies": [
            (record["action"], record["version"])
            for path in sorted(ledger.copies.glob("[0-9]*.json"))
            for record in [json.loads(path.read_text())]
        ],
    }


def die_before_write(number: int, patch: pytest.MonkeyPatch) -> None:
    """This process ends before its `number`th write to MLflow or to disk, from 1."""
    count = 0

    def counted(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            os._exit(KILLED)
        return original(*args, **kwargs)

    for owner, name in WRITES:
        original = getattr(owner, name)

        def wrapped(*args: Any, original: Any = original, **kwargs: Any) -> Any:
            return counted(original, *args, **kwargs)

        patch.setattr(owner, name, wrapped)


def killed_everywhere(
    root: Path, act: Callable[[Ledger], object], then: Callable[[Ledger], object]
) -> list[dict[str, Any]]:
    """What is to be seen after `then`, when `act` died before each of its writes in turn."""
    states: list[dict[str, Any]] = []
    prepared = root / "prepared"
    (root / "mlruns").rename(prepared)
    while True:
        shutil.rmtree(root / "mlruns", ignore_errors=True)
        shutil.copytree(prepared, root / "mlruns")

        def die() -> None:
            ledger = opened(root)
            with pytest.MonkeyPatch.context() as patch:
                die_before_write(len(states) + 1, patch)
                act(ledger)

        def go_on() -> dict[str, Any]:
            then(opened(root))
            state = seen(root)
            del state["champions"]
            times = state.pop("times")
            assert len(set(times)) == len(times)
            return state

        try:
            run(die)
        except ChildProcessError as error:
            assert error.args == (KILLED,)
            states.append(run(go_on))
        else:
            break
    assert len(states) > 7, "a decision has that many writes, and each was a place to die"
    return states


def test_killed_at_any_write_a_promotion_is_made_once_and_whole(root: Path) -> None:
    run(lambda: promote_all(root, 1).name)
    act = partial(promote, version=3)
    for state in killed_everywhere(root, act, then=act):
        assert state == {
            "decisions": [("promoted", 1), ("promoted", 3)],
            "problems": [],
            "applied": True,
            "champion": 3,
            "aliases": {"champion": 3, "previous": 1},
            "tags": {3: "promoted", 2: None, 1: "promoted"},
            "copies": [("promoted", 1), ("promoted", 3)],
        }


def test_killed_at_any_write_a_rollback_is_made_once_and_whole(root: Path) -> None:
    run(lambda: promote_all(root, 1, 2, 3).name)
    for state in killed_everywhere(root, Ledger.rollback, then=Ledger.rollback):
        assert state["decisions"][3:] == state["copies"][3:] == [("rolled back", 3)]
        assert state["champion"] == 2 and state["aliases"] == {"champion": 2, "previous": 1}
        assert state["tags"][3] == "rolled back"
        assert state["problems"] == [] and state["applied"]


def test_no_pipeline_brings_back_what_a_killed_process_rolled_back(root: Path) -> None:
    run(lambda: promote_all(root, 1, 2).name)
    pipeline = partial(promote, version=2)
    champions = []
    for state in killed_everywhere(root, Ledger.rollback, then=pipeline):
        decided = ("rolled back", 2) in state["decisions"]
        assert state["champion"] == state["aliases"]["champion"] == (1 if decided else 2)
        champions.append(state["champion"])
    assert sorted(champions, reverse=True) == champions and champions[-3:] == [1, 1, 1]


def test_a_server_takes_the_log() -> None:
    """MLflow's server refuses sources that the database itself would take."""
    _validate_source_run(f"{SOURCE}{'0' * 64}", "")  # type: ignore[no-untyped-call]


def test_nobody_is_left(root: Path) -> None:
    """After 1, 2, 3, 2 it goes to 3, then to 1, and says when there is nobody left."""

    def story() -> list[object]:
        ledger = promote_all(root, 1, 2, 3, 2)
        return [back(ledger) for _ in range(4)]

    def back(ledger: Ledger) -> object:
        try:
            return ledger.rollback().champion_after
        except UserError as error:
            return str(error)

    third, first, *nobody = run(story)
    assert (third, first) == (3, 1)
    assert len(set(nobody)) == 1 and "nobody is left to roll lookalike-reid back to" in str(nobody)


def test_an_alias_that_somebody_moved_is_respected_and_put_on_record(root: Path) -> None:
    def story() -> tuple[list[str], dict[str, Any], int | None]:
        ledger = opened(root)
        client = ledger.store.client
        client.set_registered_model_alias(ledger.name, "champion", "1")  # before there was a log
        promote(ledger, 2)
        client.set_registered_model_alias(ledger.name, "champion", "3")
        problems, champion = ledger.verify()[1], ledger.champion()
        promote(ledger, 2, passed=False)
        return problems, seen(root), champion

    problems, state, champion = run(story)
    assert champion == 3
    assert len(problems) == 1 and "somebody moved it outside of lookalike" in problems[0]
    moved = "moved by hand"
    assert state["decisions"] == [(moved, 1), ("promoted", 2), (moved, 3), ("refused", 2)]
    assert state["aliases"] == {"champion": 3, "previous": 2} and state["problems"] == []


def test_deleted_versions_are_passed_over(root: Path) -> None:
    def story() -> tuple[Decision, dict[str, Any]]:
        ledger = promote_all(root, 1, 2, 3)
        ledger.store.client.delete_model_version(ledger.name, "2")
        return ledger.rollback(), seen(root)

    decision, state = run(story)
    assert decision.champion_after == 1 and state["aliases"] == {"champion": 1}
    assert state["problems"] == []


def test_a_log_that_was_tampered_with_stops_decisions(root: Path) -> None:
    def story() -> tuple[str, dict[str, Any]]:
        ledger = promote_all(root, 1, 2, 3)
        ledger.store.client.delete_model_version(ledger.log, "2")
        with pytest.raises(UserError, match=r"taken out.*delete that reg.* move .* away") as caught:
            ledger.rollback()
        # The advice works: a new log begins with the present champion.
        ledger.store.client.delete_registered_model(ledger.log)
        promote(ledger, 1)
        return str(caught.value), seen(root)

    message, state = run(story)
    assert "\n" not in message
    assert state["decisions"] == [("moved by hand", 3), ("promoted", 1)]
    assert len(state["problems"]) == 3
    for problem in state["problems"]:
        file, _, advice = problem.partition(" is not in the log: ")
        assert advice.endswith("if that was meant, move this file away")
        Path(file).rename(root / Path(file).name)
    assert run(partial(seen, root))["problems"] == []


def test_decisions_are_not_missing_from_another_store(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor are those of the checkout's own database, by whatever name, forgotten meanwhile."""
    shutil.copytree(root / "mlruns", tmp_path / "server")
    run(lambda: promote_all(root, 1, 2).name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/server/mlflow.db")
    elsewhere = run(lambda: [promote_all(root, 3), seen(root)][1])
    assert elsewhere["problems"] == []
    assert elsewhere["decisions"] == elsewhere["copies"] == [("promoted", 3)]
    monkeypatch.chdir(root)
    for own in (None, f"sqlite:///{root}/mlruns/mlflow.db", "sqlite:///mlruns/mlflow.db"):
        if own:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", own)
        else:
            monkeypatch.delenv("MLFLOW_TRACKING_URI")
        state = run(partial(seen, root))
        assert state["problems"] == []
        assert state["decisions"] == state["copies"] == [("promoted", 1), ("promoted", 2)]


def test_a_store_is_the_same_whoever_opens_it(root: Path) -> None:
    addresses = (
        "http://127.0.0.1:5000",
        "http://127.0.0.1:5000/",
        "http://alice:SECRET@127.0.0.1:5000",
        "http://alice@127.0.0.1:5000",
        "http://127.0.0.1:5001",
    )
    first, *same, other = (short_name(address, root) for address in addresses)
    assert set(same) == {first} and other not in (first, "own")


@pytest.mark.parametrize("action", ["rolled back", "promoted"])
@pytest.mark.parametrize(
    ("how", "write"),
    [("moved", "_append"), ("replaced", "_set_aliases"), ("moved", "_set_tags")],
)
def test_a_database_that_is_pulled_away_is_one_line_and_the_next_call_goes_on(
    root: Path, action: str, how: str, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite calls a database read-only that is no longer where it was opened."""
    run(lambda: promote_all(root, 1, 2).name)
    version, champion = (2, 1) if action == "rolled back" else (3, 3)
    (root / "params.yaml").write_text("seed: 1\n")
    database, away = root / "mlruns" / "mlflow.db", root / "mlruns" / "away.db"

    def act(ledger: Ledger) -> Decision:
        return ledger.rollback() if action == "rolled back" else promote(ledger, 3)

    def promote_or_end() -> None:
        try:
            promote(opened(root), 3)
        except Exception as error:
            sys.exit(last_words(error, "lookalike"))

    def pulled() -> str:
        os.chdir(root)
        original = getattr(Ledger, write)

        def pull(*args: Any) -> Any:
            if write != "_append" and len(args[1].entries) == 2:
                return original(*args)  # not yet
            shutil.copy(database, away)
            away.replace(database) if how == "replaced" else database.rename(away)
            return original(*args)

        monkeypatch.setattr(Ledger, write, pull)
        monkeypatch.setattr(sys, "argv", ["lookalike", "rollback"])
        with redirect_stderr(StringIO()) as said, pytest.raises(SystemExit) as caught:
            monkeypatch.setattr("lookalike.progress.console", Console(file=said, width=1000))
            logging.getLogger("mlflow").handlers[0].setStream(said)
            main() if action == "rolled back" else promote_or_end()
        assert caught.value.code == 2
        return said.getvalue()

    *before, last = run(pulled).splitlines()
    assert "readonly database; make the file" in last
    if write == "_append":
        assert before == []
    else:
        assert before == [
            f"version {version}: {action}, which is on record; aliases and tags follow "
            "with the next decision"
        ]
    if away.exists():
        away.replace(database)
    state = run(lambda: [act(opened(root)), seen(root)][1])
    assert state["decisions"] == [("promoted", 1), ("promoted", 2), (action, version)]
    assert state["champion"] == state["aliases"]["champion"] == champion
    assert state["problems"] == [] and state["tags"][version] == action


def test_twenty_processes_of_two_checkouts_at_once_lose_no_decision(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promotions of three versions and rollbacks, begun together on one database.

    Checkouts have locks of their own, as two machines with one server have.
    """
    other = tmp_path / "another checkout"
    other.mkdir()

    def decide(number: int) -> tuple[str, int] | str:
        if number % 2:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlruns/mlflow.db")
        ledger = opened(other if number % 2 else root)
        try:
            made = ledger.rollback() if number % 5 == 4 else promote(ledger, number % 3 + 1)
        except UserError as error:
            return str(error)
        return made.action, made.version

    answers = [answer() for answer in [start(partial(decide, n)) for n in range(20)]]
    state = run(partial(seen, root))
    made = [answer for answer in answers if not isinstance(answer, str)]
    errors = {answer for answer in answers if isinstance(answer, str)}
    assert all("no champion" in e or "nobody is left" in e for e in errors), errors
    # Who asks for what another process has just decided and not finished, finishes that one; and
    # a refusal for the same reason is no new one.
    told = Counter(answer for answer in made if answer[0] != UNCHANGED)
    assert set(state["decisions"]) == set(told)
    assert Counter(state["decisions"]) <= told, "nothing on record that nobody decided"
    befores, afters = zip(*state["champions"], strict=True)
    assert befores == (None, *afters[:-1]), "each knew the decision before"
    assert state["problems"] == [] and state["applied"]
    assert state["champion"] == state["aliases"]["champion"]


def test_a_row_that_another_machine_made_at_the_same_moment_is_written_over() -> None:
    said = ["(sqlite3.IntegrityError) UNIQUE constraint failed: model_version_tags.key"]
    written: list[object] = []

    def write(*values: object) -> None:
        if said:
            raise MlflowException(said.pop())
        written.append(values)

    ledger_module._write(write, "name", 1)
    assert written == [("name", 1)]
    said.append("attempt to write a readonly database")
    with pytest.raises(MlflowException, match="readonly"):
        ledger_module._write(write, "name", 1)


def test_what_is_retired_is_out_for_good(root: Path) -> None:
    def story() -> dict[str, Any]:
        ledger = promote_all(root, 1, 2, 3)
        made = ledger.retire([3, 1], "forget person 0007")
        assert [(d.version, d.champion_after) for d in made] == [(1, 3), (3, 2)]
        assert {d.action for d in ledger.retire([1, 3], "again")} == {UNCHANGED}
        assert ledger.history().retired == {1, 3}
        with pytest.raises(UserError, match="nobody is left"):
            ledger.rollback()
        return seen(root)

    state = run(story)
    assert state["decisions"][3:] == [("retired", 1), ("retired", 3)]
    assert state["champion"] == 2 and state["problems"] == []
    assert state["aliases"] == {"champion": 2}, "no candidate, and nothing to go back to"
    assert state["tags"][3] == "retired"


def test_without_another_champion_nobody_is(root: Path) -> None:
    def story() -> dict[str, Any]:
        promote_all(root, 1, 2).retire([1, 2], "forget person 0007")
        return seen(root)

    state = run(story)
    assert state["champion"] is None and state["problems"] == []
    assert state["aliases"] == {"candidate": 3}


def test_a_killed_retirement_is_finished(root: Path) -> None:
    run(lambda: len(promote_all(root, 1, 2).verify()[1]))

    def again(ledger: Ledger) -> None:
        ledger.retire([2], "forget person 0007")

    states = killed_everywhere(root, again, again)
    assert len(states) > 3
    for state in states:
        assert state["champion"] == 1 and state["decisions"][2:] == [("retired", 2)]
        assert state["problems"] == []
