"""Checks of every request: token, content type, size and time."""

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
from rlcl.deploy.serving.request_errors import RequestError

__all__ = ["AccessMiddleware", "JsonEndpoint"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = ("/health", "/ready")  # probes have no token
JSON = b"application/json"
DISCARD_FACTOR = 4  # a body up to this many times its limit is read and discarded, so that the connection stays usable
QUIET_SECONDS = 1.0  # without data, after which a rejected client is assumed to have sent everything


def header(scope: Message, name: bytes) -> bytes | None:
    """Return the first header with a lower-case name, or None if the client did not send it."""
    return next((value for key, value in scope["headers"] if key == name), None)


async def respond(
    send: Send, status: int, body: bytes, headers: dict[str, str] | None = None, *, last: bool = True
) -> None:
    """Send an answer in JSON; if it is not the last message, the connection stays open for more."""
    all_headers = [(b"content-type", JSON), (b"content-length", str(len(body)).encode())]
    if headers:
        all_headers += [(key.encode(), value.encode()) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body, "more_body": not last})


@define(eq=False)
class AccessMiddleware:
    """ASGI middleware that checks the token, and counts and times requests.

    Args:
        app: application behind the middleware.
        endpoints: endpoints by path; their POST requests bypass ``app``, since Starlette's routing takes longer than
            the rest of an answer.
        token: token that clients must send; None for no token.
        metrics: counts of requests.
        paths: paths that are counted separately; all others are counted together, since a client could make up any
            number of them.
    """

    app: App
    endpoints: Mapping[str, App]
    token: str | None
    metrics: Metrics
    paths: frozenset[str]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        path = scope["path"]

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                label = path if path in self.paths else "other"
                self.metrics.observe(label, message["status"], time.perf_counter() - started)
            await send(message)

        if self.token is not None and path not in OPEN and not self._has_token(scope):
            self.metrics.errors["unauthorized"] += 1
            detail = b'{"detail":"expected the header Authorization: Bearer TOKEN, with the token of the server"}'
            await respond(counted_send, 401, detail, {"www-authenticate": "Bearer"})
            return
        app = self.endpoints.get(path, self.app) if scope["method"] == "POST" else self.app
        await app(scope, receive, counted_send)

    def _has_token(self, scope: Message) -> bool:
        authorization = header(scope, b"authorization") or b""
        scheme, _, token = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), (self.token or "").encode())


@frozen(eq=False)
class JsonEndpoint:
    """ASGI application that reads a JSON body within its limits and answers in JSON.

    Args:
        answer: function that computes the answer from the decoded body.
        max_body: maximum bytes of the body.
        timeout: seconds for the body to arrive.
        metrics: counts of errors.
    """

    answer: Callable[[Any], Awaitable[bytes]]
    max_body: int
    timeout: float
    metrics: Metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        try:
            _check_type(scope)
            answer = await self.answer(_decode(await self._body(scope, receive)))
        except RequestError as error:
            self.metrics.errors[error.kind] += 1
            body = orjson.dumps(error.body)
            if error.status == 413 and error.headers:
                await self._interrupt(receive, send, error, body)
            else:
                await respond(send, error.status, body, error.headers)
        except Exception:
            self.metrics.errors["internal"] += 1
            await respond(send, 500, b'{"detail":"internal error; see the output of the server"}')
            raise
        else:
            await respond(send, 200, answer)

    async def _interrupt(self, receive: Receive, send: Send, error: RequestError, body: bytes) -> None:
        """Reject a body while it is being sent, and keep reading until the client has stopped.

        If the connection were closed with unread data, it would be reset, and the client would never see the answer.
        """
        await respond(send, error.status, body, error.headers, last=False)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeout):
                more = True
                while more:
                    message = await asyncio.wait_for(receive(), QUIET_SECONDS)
                    more = message["type"] == "http.request" and message.get("more_body", False)
        await send({"type": "http.response.body", "body": b""})

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        length = header(scope, b"content-length")
        if length is not None and int(length) > DISCARD_FACTOR * self.max_body:
            raise self._too_large({"connection": "close"})
        try:
            async with asyncio.timeout(self.timeout):
                return await self._receive_body(receive)
        except TimeoutError:
            detail = f"the body took longer than {self.timeout:g} s"
            raise RequestError(408, "slow", detail, {"connection": "close"}) from None

    async def _receive_body(self, receive: Receive) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestError(400, "disconnected", "the client has disconnected")
            body, more = message.get("body", b""), message.get("more_body", False)
            size += len(body)
            if size <= self.max_body:
                parts.append(body)
            elif size > DISCARD_FACTOR * self.max_body:
                raise self._too_large({"connection": "close"})
        if size > self.max_body:
            raise self._too_large()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self, headers: dict[str, str] | None = None) -> RequestError:
        detail = f"expected a body of at most {self.max_body:,} bytes; send fewer inputs per request"
        return RequestError(413, "too_large", detail, headers)


def _check_type(scope: Message) -> None:
    content_type = header(scope, b"content-type") or b""
    if content_type.partition(b";")[0].strip().lower() != JSON:
        raise RequestError(415, "not_json", "expected the header Content-Type: application/json")


def _integer(text: str) -> int | float:
    """Convert an integer in JSON; one with 19 or more characters becomes a float, which may be infinite."""
    return int(text) if len(text) < 19 else float(text)


def _decode(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # NaN and Infinity are not valid JSON, but common. The standard library reads them, so that the error can
        # contain their location.
        if b"NaN" in body or b"Infinity" in body:
            with suppress(ValueError, RecursionError):
                return json.loads(body, parse_int=_integer)
        detail = [{"loc": ["body"], "msg": f"expected JSON: {error}", "input": None}]
        raise RequestError(422, "no_json", detail) from None
