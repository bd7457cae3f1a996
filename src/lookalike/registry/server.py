"""MLflow's scoring server behind a guard, which bounds what a request can cost.

MLflow's server reads bodies of any size, builds a table of whatever they hold before the model can
refuse it, repeats bodies in its answers, and answers 500 or a stack trace to malformed ones. The
guard stands in front of it as ASGI middleware: it takes JSON only, reads at most `MAX_BODY` bytes
within `BODY_SECONDS`, lets `READERS` bodies be read and `WORKERS` requests be computed at a time,
and makes the others wait, their bodies still in the network. MLflow sees nothing but a column of at
most `MAX_IMAGES` pictures, and the client nothing of an error but its message. `/metrics` answers
with what was counted, and pages of MLflow's own are there only if asked for.

`lookalike serve` runs this file as a script (`python -P server.py MODEL HOST PORT`). It imports
nothing of this package, so that the code registered with the model is the code that runs; the few
files that it shares with the package are loaded by their paths.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.registry.shadow import Shadow
    from lookalike.registry.telemetry import Telemetry

PACKAGE = Path(__file__).parents[1]
MAX_BODY = 16 * 1024 * 1024  # bytes: a picture of 8 MiB in base64, or hundreds of crops
BODY_SECONDS = 30  # to send a body
READERS = 32  # bodies in memory
WORKERS = 4  # bodies decoded and embedded
CONNECTIONS = 512  # open at once; more get a 503 from uvicorn
REQUEST_SECONDS = 300  # to decode and embed; MLflow answers 504 afterwards
# After SIGTERM or Ctrl+C: what is in progress may end, then no thread keeps the process.
GRACE_SECONDS, STOP_SECONDS = 1, 1.5
COLUMN, MAX_IMAGES = "image", 256  # as in serving_model.py
# A byte of JSON can become hundreds in memory, so what makes objects of it is counted before: lists
# and their items (250,000 pixels as nested lists), and objects and their keys.
MAX_ITEMS, MAX_KEYS = 1_000_000, 4 * MAX_IMAGES
MAX_MESSAGE = 1000  # characters of MLflow's own errors, which may repeat what was sent
PATHS = {"/ping", "/health", "/version", "/invocations"}  # of MLflow's; /metrics is ours
TEXT = b"text/plain; version=0.0.4; charset=utf-8"  # as Prometheus reads it
DOCS = {"/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class RefusedError(Exception):
    """A request that the guard answers itself."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


@dataclass
class Handled:
    """How far a request came: whether the model saw it, and how many pictures it holds."""

    accepted: bool = False
    pictures: int = 0


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: MLflow's application.
        telemetry: counts every POST.
        docs: whether MLflow's pages about its interface are there.
        shadow: gets what was answered with embeddings.
    """

    def __init__(
        self, app: App, telemetry: Telemetry, docs: bool = False, shadow: Shadow | None = None
    ):
        self.app, self.telemetry, self.shadow = app, telemetry, shadow
        self.paths = PATHS | DOCS if docs else PATHS
        self.readers = asyncio.Semaphore(READERS)
        self.workers = asyncio.Semaphore(WORKERS)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Check a POST before the application sees it; of the rest pass on what is known."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] == "POST":
            await self.count(scope, receive, send)
        elif scope["path"] == "/metrics":
            await respond(send, 200, self.telemetry.text().encode(), TEXT)
        elif scope["path"] in self.paths:
            await self.app(scope, receive, send)
        else:
            await answer(send, RefusedError(404, f"nothing is at {scope['path'][:100]}"))

    async def count(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a POST be answered, and count what came of it."""
        status, began = 0, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        work = Handled()
        self.telemetry.working += 1
        try:
            await self.guarded(scope, receive, noting, work)
        finally:
            self.telemetry.working -= 1
            seconds = time.perf_counter() - began
            by = "model" if work.accepted else "guard"
            self.telemetry.answered(status, by, seconds, work.pictures)

    async def guarded(self, scope: Message, receive: Receive, send: Send, work: Handled) -> None:
        """Read a body, and let the application see it if it may."""
        try:
            if scope["path"] not in PATHS:
                raise RefusedError(404, f"nothing is at {scope['path'][:100]}")
            headers = {key.lower(): value for key, value in scope["headers"]}
            check_headers(headers)
            async with self.readers:
                try:
                    body = await asyncio.wait_for(read_body(receive), BODY_SECONDS)
                except TimeoutError:
                    raise RefusedError(408, f"the body took more than {BODY_SECONDS} s") from None
                if body is None:  # the client has gone
                    return
                async with self.workers:
                    table, work.pictures = await asyncio.to_thread(normalise, body)
                    del body
                    work.accepted = True
                    began = time.perf_counter()
                    content = await self.answered(scope, replay(table, receive), send)
                    if self.shadow is not None and content:
                        self.shadow.offer(table, content, time.perf_counter() - began)
        except RefusedError as refused:
            if refused.status in (404, 413, 415):  # the client may still be sending, not listening
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(discard(receive), BODY_SECONDS)
            await answer(send, refused)

    async def answered(self, scope: Message, receive: Receive, send: Send) -> bytes:
        """Let the application answer, of its errors only with their messages.

        Returns:
            What it answered with; empty for an error.
        """
        started, status, content = False, 200, b""

        async def plainly(message: Message) -> None:
            nonlocal started, status, content
            if message["type"] == "http.response.start":
                status = message["status"]
            if status >= 400 or self.shadow is not None:
                content += message.get("body", b"")
            if status < 400:
                started = True
                await send(message)
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                started = True
                await answer(send, plain_error(status, content))

        try:
            await self.app(scope, receive, plainly)
        except Exception:
            if started:
                raise
            logging.getLogger("uvicorn.error").exception("a request failed")
            await answer(send, plain_error(500, b""))
        return content if status < 400 else b""


def plain_error(status: int, content: bytes) -> RefusedError:
    """The application's error without a stack trace, which MLflow's may hold.

    A model that cannot take its input is a bad request to MLflow (400), and so it is here wherever
    it fails.
    """
    try:
        message = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        message = "the server could not answer this request"
    return RefusedError(400 if status == 500 else status, message[-MAX_MESSAGE:])


def check_headers(headers: dict[bytes, bytes]) -> None:
    """Refuse what needs no reading: another type than JSON, or too many bytes announced."""
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind != b"application/json":
        raise RefusedError(415, "send Content-Type: application/json")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY:
        raise RefusedError(413, f"send at most {MAX_BODY} bytes")


async def read_body(receive: Receive) -> bytes | None:
    """The whole body; None if the client went away before its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY:  # sent in chunks, without a length
            raise RefusedError(413, f"send at most {MAX_BODY} bytes")
        if not message.get("more_body", False):
            return bytes(body)


async def discard(receive: Receive) -> None:
    """Read the rest of a body, and keep nothing of it."""
    while (await receive()).get("more_body", False):
        pass


def normalise(body: bytes) -> tuple[bytes, int]:
    """A body in one of MLflow's four forms as the one that costs MLflow least, `dataframe_split`.

    Returns:
        The new body, and how many pictures it holds.

    Raises:
        RefusedError: it is something else, or holds more than a request may.
    """
    if (
        body.count(b"[") + body.count(b",") > MAX_ITEMS
        or body.count(b"{") + body.count(b":") > MAX_KEYS
    ):
        raise RefusedError(
            400, f"the body has too many parts: send pictures in base64, at most {MAX_IMAGES}"
        )
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise RefusedError(400, f"the body is not JSON ({reason})") from None
    if not isinstance(content, dict) or len(content) != 1:
        raise RefusedError(400, f"the body must be a JSON object with one of {', '.join(FORMS)}")
    ((form, value),) = content.items()
    try:
        pictures = FORMS[form](value)
    except (KeyError, TypeError, ValueError):
        raise RefusedError(
            400, f"send one of {', '.join(FORMS)}, with pictures in the one column {COLUMN}"
        ) from None
    if len(pictures) > MAX_IMAGES:
        raise RefusedError(400, f"{len(pictures)} pictures in a request; send at most {MAX_IMAGES}")
    table = {"columns": [COLUMN], "data": [[picture] for picture in pictures]}
    return json.dumps({"dataframe_split": table}).encode(), len(pictures)


def _split(value: dict[str, Any]) -> list[Any]:
    """Of {"columns": ["image"], "data": [[P], ...]}, with the `index` of pandas or without."""
    rows = value["data"]
    if (
        value["columns"] != [COLUMN]
        or not value.keys() <= {"columns", "data", "index"}
        or len(value.get("index", rows)) != len(rows)
        or not all(isinstance(row, list) for row in [rows, *rows])
    ):
        raise ValueError
    return [picture for (picture,) in rows]


def _records(value: list[Any]) -> list[Any]:
    """Of [{"image": P}, ...]."""
    if not isinstance(value, list) or any(set(row) != {COLUMN} for row in value):
        raise ValueError
    return [row[COLUMN] for row in value]


def _instances(value: list[Any]) -> list[Any]:
    """Of [{"image": P}, ...] or [P, ...]."""
    if isinstance(value, list) and not any(isinstance(row, dict) for row in value):
        return value
    return _records(value)


def _inputs(value: dict[str, Any] | list[Any]) -> list[Any]:
    """Of {"image": [TEXT, ...]}, {"image": P} or what `instances` may be."""
    if not isinstance(value, dict):
        return _instances(value)
    (cell,) = _records([value])
    several = isinstance(cell, list) and all(isinstance(item, str) for item in cell)
    return cell if several else [cell]


FORMS: dict[str, Callable[[Any], list[Any]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once more, then what the client does next."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again


async def answer(send: Send, refused: RefusedError) -> None:
    """Send the refusal in the form of MLflow's own errors."""
    code = "RESOURCE_EXHAUSTED" if refused.status == 413 else "BAD_REQUEST"
    if refused.status >= 500:
        code = "INTERNAL_ERROR"
    content = json.dumps({"error_code": code, "message": refused.message}).encode()
    await respond(send, refused.status, content, b"application/json")


async def respond(send: Send, status: int, content: bytes, kind: bytes) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def load_file(path: str) -> Any:
    """A file of this package as a module, without importing the package: see the module."""
    name = f"served_{Path(path).stem}"
    found = importlib.util.spec_from_file_location(name, PACKAGE / path)
    assert found is not None and found.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def stop_soon() -> None:
    """End this process in `STOP_SECONDS`, whatever its threads are at."""
    end = threading.Timer(STOP_SECONDS, os._exit, [128 + signal.SIGTERM])
    end.daemon = True
    end.start()


def main(arguments: list[str]) -> None:
    """Load the model, then answer until told to stop."""
    import uvicorn
    from mlflow.pyfunc import load_model, scoring_server

    parser = argparse.ArgumentParser()
    for name in ("model", "host"):
        parser.add_argument(name)
    parser.add_argument("port", type=int)
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--shadow", nargs=2, default=())  # the candidate, and where to record
    asked = parser.parse_args(arguments)
    shadow: Shadow | None = None
    if asked.shadow:
        candidate, record = asked.shadow
        beside = load_file("registry/shadow.py")
        shadow = beside.Shadow(asked.model, candidate, Path(record))
    os.environ.setdefault("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
    try:
        loaded = load_model(asked.model)
    except Exception as error:
        reason = " ".join(load_file("addresses.py").hidden(str(error)).split())[:300]
        sys.exit(
            f"error: cannot load {asked.model}: {reason}; `lookalike registry show` says what to do"
        )
    inner = loaded.unwrap_python_model()  # type: ignore[no-untyped-call]
    figures = [inner.figures] if hasattr(inner, "figures") else []  # older versions have none
    if shadow is not None:
        try:
            shadow.start()
        except RuntimeError as error:
            sys.exit(f"error: {error}; `lookalike registry show` lists the versions")
        figures.append(shadow.figures)
    telemetry = load_file("registry/telemetry.py").Telemetry(asked.model, figures)
    app = Guard(scoring_server.init(loaded), telemetry, asked.docs, shadow)
    settings = uvicorn.Config(
        app,
        host=asked.host,
        port=asked.port,
        limit_concurrency=CONNECTIONS,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            stop_soon()
            super().handle_exit(sig, frame)

    Server(settings).run()


if __name__ == "__main__":
    main(sys.argv[1:])
