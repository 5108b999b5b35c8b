"""What every request has to pass: the token, its type, its size."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import orjson
from attrs import define, frozen

from rlcl.deploy.serving.metrics import Metrics
from rlcl.deploy.serving.refused import Refused

__all__ = ["Endpoint", "Gate"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = ("/health", "/ready")  # probes hold no token
JSON = b"application/json"
READ_AWAY = 4  # times the limit of a body, that are read and thrown away so that the connection can go on
QUIET_SECONDS = 1.0  # without a byte, after which a client that was refused is taken to be waiting for the end


def header(scope: Message, name: bytes) -> bytes | None:
    """The first header of a name, in small letters; None where it was not sent."""
    return next((value for key, value in scope["headers"] if key == name), None)


async def respond(
    send: Send, status: int, body: bytes, headers: dict[str, str] | None = None, *, last: bool = True
) -> None:
    """Sends an answer in JSON; where it is not the last message the connection stays open for more."""
    found = [(b"content-type", JSON), (b"content-length", str(len(body)).encode())]
    if headers:
        found += [(key.encode(), value.encode()) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": found})
    await send({"type": "http.response.body", "body": body, "more_body": not last})


@define(eq=False)
class Gate:
    """Asks for the token, and counts and times what passes.

    Args:
        app: behind it.
        often: what is asked often, by path: POST goes straight to it, since the way through Starlette takes longer than
            all the rest of an answer.
        token: what clients must send; None for none.
        metrics: that count.
        paths: that are counted by their names; others together, or a client could make up any number of them.
    """

    app: App
    often: Mapping[str, App]
    token: str | None
    metrics: Metrics
    paths: frozenset[str]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        path = scope["path"]

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = path if path in self.paths else "other"
                self.metrics.observe(named, message["status"], time.perf_counter() - started)
            await send(message)

        if self.token is not None and path not in OPEN and not self._knows(scope):
            self.metrics.errors["unauthorized"] += 1
            detail = b'{"detail":"expected the header Authorization: Bearer TOKEN, with the token of the server"}'
            await respond(counted, 401, detail, {"www-authenticate": "Bearer"})
            return
        app = self.often.get(path, self.app) if scope["method"] == "POST" else self.app
        await app(scope, receive, counted)

    def _knows(self, scope: Message) -> bool:
        given = header(scope, b"authorization") or b""
        scheme, _, token = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), (self.token or "").encode())


@frozen(eq=False)
class Endpoint:
    """Reads a JSON body within its limits, and answers in JSON; without what a framework does for typed parameters.

    Args:
        answer: makes the answer of the decoded body.
        max_body: bytes.
        timeout: seconds for the body to arrive.
        metrics: that count errors.
    """

    answer: Callable[[Any], Awaitable[bytes]]
    max_body: int
    timeout: float
    metrics: Metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        try:
            _check_type(scope)
            answer = await self.answer(_decoded(await self._body(scope, receive)))
        except Refused as refused:
            self.metrics.errors[refused.kind] += 1
            body = orjson.dumps(refused.body)
            if refused.status == 413 and refused.headers:
                await self._interrupt(receive, send, refused, body)
            else:
                await respond(send, refused.status, body, refused.headers)
        except Exception:
            self.metrics.errors["internal"] += 1
            await respond(send, 500, b'{"detail":"an error of the server, told in its output"}')
            raise
        else:
            await respond(send, 200, answer)

    async def _interrupt(self, receive: Receive, send: Send, refused: Refused, body: bytes) -> None:
        """Refuses a body while it is being sent, and reads on until the client has stopped.

        Closed with bytes unread, the connection would be reset, and the client would never see the answer.
        """
        await respond(send, refused.status, body, refused.headers, last=False)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeout):
                more = True
                while more:
                    message = await asyncio.wait_for(receive(), QUIET_SECONDS)
                    more = message["type"] == "http.request" and message.get("more_body", False)
        await send({"type": "http.response.body", "body": b""})

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        length = header(scope, b"content-length")
        if length is not None and int(length) > READ_AWAY * self.max_body:
            raise self._too_large({"connection": "close"})
        try:
            async with asyncio.timeout(self.timeout):
                return await self._whole(receive)
        except TimeoutError:
            detail = f"the body took longer than {self.timeout:g} s"
            raise Refused(408, "slow", detail, {"connection": "close"}) from None

    async def _whole(self, receive: Receive) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "disconnected", "the client has gone")
            body, more = message.get("body", b""), message.get("more_body", False)
            size += len(body)
            if size <= self.max_body:
                parts.append(body)
            elif size > READ_AWAY * self.max_body:
                raise self._too_large({"connection": "close"})
        if size > self.max_body:
            raise self._too_large()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self, headers: dict[str, str] | None = None) -> Refused:
        detail = f"expected a body of at most {self.max_body:,} bytes; send fewer inputs a request"
        return Refused(413, "too_large", detail, headers)


def _check_type(scope: Message) -> None:
    given = header(scope, b"content-type") or b""
    if given.partition(b";")[0].strip().lower() != JSON:
        raise Refused(415, "not_json", "expected the header Content-Type: application/json")


def _number(text: str) -> int | float:
    """A whole number as JSON may hold it; a longer one as a fraction, infinite if need be."""
    return int(text) if len(text) < 19 else float(text)


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body or b"Infinity" in body:  # no JSON, but many write it; so its place can be named
            with suppress(ValueError, RecursionError):
                return json.loads(body, parse_int=_number)
        detail = [{"loc": ["body"], "msg": f"expected JSON: {error}", "input": None}]
        raise Refused(422, "no_json", detail) from None
