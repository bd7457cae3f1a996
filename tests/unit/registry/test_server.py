"""The guard in front of MLflow's server: what it refuses, how long it waits, what it lets by."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lookalike.registry import server, serving_model
from lookalike.registry.server import MAX_BODY, App, Message, Receive, Send, normalise
from lookalike.registry.telemetry import Telemetry

JSON = {"content-type": "application/json; charset=utf-8"}
GOOD = b'{"dataframe_split": {"columns": ["image"], "data": [["x"]]}}'


def Guard(app: App, docs: bool = False) -> server.Guard:  # noqa: N802 # with counts of its own
    return server.Guard(app, Telemetry("m"), docs)


class Echo:
    """An application that answers with the body, and counts how many bodies it works on."""

    def __init__(self) -> None:
        self.running = self.most = self.answered = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        body = (await receive())["body"]
        await asyncio.sleep(0.01)
        self.running -= 1
        self.answered += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


async def post(
    guard: server.Guard, chunks: list[bytes], headers: dict[str, str]
) -> tuple[int, bytes]:
    """Status and body of an answer; takes what is read out of `chunks`, then hangs."""
    status, content = 0, b""

    async def receive() -> Message:
        if not chunks:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: Message) -> None:
        nonlocal status, content
        status = message.get("status", status)
        content += message.get("body", b"")

    encoded = [(key.encode(), value.encode()) for key, value in headers.items()]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/invocations",
        "headers": encoded,
    }
    await guard(scope, receive, send)
    return status, content


@pytest.mark.parametrize(
    ("chunks", "headers", "status"),
    [
        ([GOOD], JSON, 200),
        ([GOOD[:9], GOOD[9:]], JSON, 200),
        ([b""], JSON, 400),
        ([b"null"], JSON, 400),
        ([b"{}"], JSON, 400),
        ([b"[" * 100_000], JSON, 400),
        ([b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"], JSON, 400),
        ([b'{"a": ' + b"9" * 5000 + b"}"], JSON, 400),
        ([b"\xff" * 1000], JSON, 400),
        ([b"{}"], {}, 415),
        ([b"PAR1"], {"content-type": "application/vnd.apache.parquet"}, 415),
        ([b"{", b"}"], {**JSON, "content-length": str(MAX_BODY + 1)}, 413),
        ([b"{}"], {**JSON, "content-length": "-1"}, 413),
        ([b" " * (MAX_BODY // 4)] * 7, JSON, 413),
    ],
)
def test_answers(chunks: list[bytes], headers: dict[str, str], status: int) -> None:
    app = Echo()
    left = list(chunks)
    got, content = asyncio.run(post(Guard(app), left, headers))
    assert got == status
    assert left == [], "whoever still sends would not hear the answer"
    assert app.answered == (status == 200)
    if status == 200:
        assert content == b"".join(chunks)
    else:
        assert len(content) < 300, "a refusal does not repeat what was sent"
        assert set(json.loads(content)) == {"error_code", "message"}


def test_few_work_at_a_time_and_all_are_answered() -> None:
    async def crowd(app: Echo) -> list[tuple[int, bytes]]:
        guard = Guard(app)
        return await asyncio.gather(*(post(guard, [GOOD], JSON) for _ in range(50)))

    app = Echo()
    assert {status for status, _ in asyncio.run(crowd(app))} == {200}
    assert app.most == server.WORKERS


def test_slow_and_vanished_clients_give_their_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.05)

    async def story() -> None:
        guard = Guard(Echo())
        slow = [post(guard, [], JSON) for _ in range(server.READERS)]
        (good, *rest) = await asyncio.gather(post(guard, [GOOD], JSON), *slow)
        assert good == (200, GOOD)
        assert {status for status, _ in rest} == {408}

        async def gone() -> Message:
            return {"type": "http.disconnect"}

        async def nobody(message: Message) -> None:
            raise AssertionError("nobody is there to answer to")

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/invocations",
            "headers": [(b"content-type", b"application/json")],
        }
        await guard(scope, gone, nobody)
        assert (await post(guard, [GOOD], JSON))[0] == 200

    asyncio.run(story())


IMAGE = [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize(
    ("body", "pictures"),
    [
        ({"dataframe_split": {"columns": ["image"], "data": [["x"], [IMAGE]]}}, ["x", IMAGE]),
        ({"dataframe_split": {"columns": ["image"], "data": [["x"]], "index": [7]}}, ["x"]),
        ({"dataframe_split": {"columns": ["image"], "data": []}}, []),
        ({"dataframe_records": [{"image": "x"}, {"image": IMAGE}]}, ["x", IMAGE]),
        ({"instances": [{"image": "x"}, {"image": IMAGE}]}, ["x", IMAGE]),
        ({"instances": ["x", IMAGE]}, ["x", IMAGE]),
        ({"inputs": {"image": ["x", "y"]}}, ["x", "y"]),
        ({"inputs": {"image": "x"}}, ["x"]),
        ({"inputs": {"image": IMAGE}}, [IMAGE]),
        ({"inputs": [{"image": "x"}, {"image": IMAGE}]}, ["x", IMAGE]),
        ({"inputs": ["x"] * 256}, ["x"] * 256),
    ],
)
def test_every_form_becomes_one_column(body: dict[str, Any], pictures: list[Any]) -> None:
    content, count = normalise(json.dumps(body).encode())
    table = json.loads(content)
    assert count == len(pictures)
    rows = [[picture] for picture in pictures]
    assert table == {"dataframe_split": {"columns": ["image"], "data": rows}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"dataframe_split": {"columns": [{}], "data": [["x"]]}}, "one column image"),
        ({"dataframe_split": {"columns": ["image", "b"], "data": [["x", "y"]]}}, "one column"),
        ({"dataframe_split": {"columns": ["image"], "data": [["x", "y"]]}}, "one column"),
        ({"dataframe_split": {"columns": ["image"], "data": [{"x": 1}]}}, "one column"),
        ({"dataframe_split": {"columns": ["image"], "data": "xy"}}, "one column"),
        ({"dataframe_split": {"data": [["x"]]}}, "one column"),
        ({"dataframe_split": {"columns": ["image"], "data": [["x"]], "dtype": 1}}, "one column"),
        (
            {"dataframe_split": {"columns": ["image"], "data": [["x"]], "index": [*range(9999)]}},
            "one column",
        ),
        ({"dataframe_records": [{f"k{n}": 0} for n in range(400)]}, "one column"),
        ({"dataframe_records": {"image": "x"}}, "one column"),
        ({"dataframe_records": ["image"]}, "one column"),
        ({"inputs": {"image": ["x"], "b": 0}}, "one column"),
        ({"inputs": "x"}, "one column"),
        ({"instances": [{"image": "x"}, "x"]}, "one column"),
        ({"instances": ["x"], "inputs": ["x"]}, "must be a JSON object with one of"),
        ({"messages": ["x"]}, "send one of"),
        ({"inputs": ["x"] * 257}, "at most 256"),
        ({"inputs": {"image": ["x"] * 50_000}}, "at most 256"),
        ({"dataframe_records": [{f"k{n}": 0} for n in range(6000)]}, "too many parts"),
        ({"inputs": {"a": [1] * 50_000, **{f"k{n}": 0 for n in range(2000)}}}, "too many parts"),
        ({"instances": [[]] * 600_000}, "too many parts"),
    ],
)
def test_what_would_make_a_large_table_is_refused(body: dict[str, Any], message: str) -> None:
    with pytest.raises(server.RefusedError, match=message) as refused:
        normalise(json.dumps(body).encode())
    assert refused.value.status == 400 and len(refused.value.message) < 200


def test_the_limits_are_those_of_the_model() -> None:
    assert (server.COLUMN, server.MAX_IMAGES) == (serving_model.COLUMN, serving_model.MAX_IMAGES)
    crop = [[[255] * 3] * 64] * 128  # of Market-1501
    assert normalise(json.dumps({"instances": [crop] * 30}).encode())


def failing(status: int, content: bytes, error: Exception | None = None) -> server.Guard:
    """A guard before an application that answers so, or raises before it does, or after."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if status:
            await send({"type": "http.response.start", "status": status, "headers": []})
            half = len(content) // 2
            await send({"type": "http.response.body", "body": content[:half], "more_body": True})
            await send({"type": "http.response.body", "body": content[half:]})
        if error:
            raise error

    return Guard(app)


def test_an_error_is_answered_without_a_stack_trace() -> None:
    said = json.dumps({"error_code": "X", "message": "row 1", "stack_trace": "File a.py"}).encode()
    for guard, status, message in (
        (failing(400, said), 400, "row 1"),
        (failing(400, json.dumps({"message": "a" * 10_000 + "row 1"}).encode()), 400, "row 1"),
        (failing(500, b"Internal Server Error"), 400, "could not answer"),
        (failing(504, b"too long"), 504, "could not answer"),
        (failing(0, b"", KeyError("a secret")), 400, "could not answer"),
    ):
        got, content = asyncio.run(post(guard, [GOOD], JSON))
        assert got == status
        answer = json.loads(content)
        assert set(answer) == {"error_code", "message"}
        assert message in answer["message"] and len(content) < 1100
        assert b"secret" not in content
    with pytest.raises(KeyError):  # for the log; the client has its answer
        asyncio.run(post(failing(500, b"", KeyError("x")), [GOOD], JSON))


async def get(guard: server.Guard, path: str) -> tuple[int, str]:
    """Status and text of an answer to a GET."""
    status, content = 0, b""

    async def send(message: Message) -> None:
        nonlocal status, content
        status = message.get("status", status)
        content += message.get("body", b"")

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    await guard(scope, receive, send)
    return status, content.decode()


def test_metrics_count_answers_refusals_pictures_and_seconds() -> None:
    async def story() -> str:
        guard = Guard(Echo())
        two = b'{"instances": ["x", "y"]}'
        for chunks, headers in (
            ([GOOD], JSON),
            ([two], JSON),
            ([b"null"], JSON),
            ([b"{}"], {}),
            ([b"{}"], {**JSON, "content-length": str(MAX_BODY + 1)}),
        ):
            await post(guard, chunks, headers)
        broken = failing(400, b'{"message": "row 1"}')
        broken.telemetry = guard.telemetry
        await post(broken, [GOOD], JSON)
        return (await get(guard, "/metrics"))[1]

    lines = asyncio.run(story()).splitlines()
    assert 'lookalike_requests_total{status="200"} 2' in lines
    assert 'lookalike_requests_total{status="400"} 2' in lines
    assert 'lookalike_refusals_total{status="400",by="guard"} 1' in lines
    assert 'lookalike_refusals_total{status="400",by="model"} 1' in lines
    assert 'lookalike_refusals_total{status="413",by="guard"} 1' in lines
    assert 'lookalike_refusals_total{status="415",by="guard"} 1' in lines
    assert "lookalike_pictures_total 3" in lines
    assert "lookalike_requests_working 0" in lines
    assert "lookalike_request_seconds_count 6" in lines


def test_pages_about_the_interface_are_there_only_if_asked_for() -> None:
    for path, open_to_all in (("/ping", True), ("/docs", False), ("/openapi.json", False)):
        assert asyncio.run(get(Guard(Echo()), path))[0] == (200 if open_to_all else 404)
        assert asyncio.run(get(Guard(Echo(), docs=True), path))[0] == 200
    assert asyncio.run(get(Guard(Echo(), docs=True), "/elsewhere"))[0] == 404
