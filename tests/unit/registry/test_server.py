"""The guard in front of MLflow's server: what it refuses, how long it waits, what it lets by."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lookalike.registry import server
from lookalike.registry.server import MAX_BODY, Guard, Message, Receive, Send

JSON = {"content-type": "application/json; charset=utf-8"}


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


async def post(guard: Guard, chunks: list[bytes], headers: dict[str, str]) -> tuple[int, bytes]:
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
    scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": encoded}
    await guard(scope, receive, send)
    return status, content


@pytest.mark.parametrize(
    ("chunks", "headers", "status"),
    [
        ([b"{}"], JSON, 200),
        ([b'{"a"', b": 1}"], JSON, 200),
        ([b""], JSON, 400),
        ([b"null"], JSON, 400),
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
        return await asyncio.gather(*(post(guard, [b"{}"], JSON) for _ in range(50)))

    app = Echo()
    assert {status for status, _ in asyncio.run(crowd(app))} == {200}
    assert app.most == server.WORKERS


def test_slow_and_vanished_clients_give_their_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.05)

    async def story() -> None:
        guard = Guard(Echo())
        slow = [post(guard, [], JSON) for _ in range(server.READERS)]
        (good, *rest) = await asyncio.gather(post(guard, [b"{}"], JSON), *slow)
        assert good == (200, b"{}")
        assert {status for status, _ in rest} == {408}

        async def gone() -> Message:
            return {"type": "http.disconnect"}

        async def nobody(message: Message) -> None:
            raise AssertionError("nobody is there to answer to")

        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"content-type", b"application/json")],
        }
        await guard(scope, gone, nobody)
        assert (await post(guard, [b"{}"], JSON))[0] == 200

    asyncio.run(story())
