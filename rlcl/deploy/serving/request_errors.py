"""Errors of requests, and their HTTP answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["MAX_TEXT", "RequestError", "check_text", "fault", "invalid", "unknown_key"]

MAX_SHOWN = 100  # characters of a value that an error repeats
MAX_TEXT = 100  # characters of a class's name, an episode's name or an id


class RequestError(Exception):
    """The rejection of a request.

    Args:
        status: HTTP status code.
        kind: label of the error in the metrics.
        detail: one sentence, or for 422 and 404 a list of ``{"loc": [...], "msg": ..., "input": ...}``.
        headers: additional headers.
        more: additional keys of the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str | list[dict[str, Any]],
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {kind}: {detail}")
        self.status = status
        self.kind = kind
        self.body = {"detail": detail, **(more or {})}
        self.headers = dict(headers or {})


def invalid(message: str, location: Sequence[str | int] = (), value: Any = None) -> RequestError:
    """Return a 422 with the location of the error in the body, and the value there if it is short."""
    return RequestError(422, "invalid", [fault(message, location, value)])


def unknown_key(name: str, allowed: Sequence[str], location: Sequence[str | int] = ()) -> RequestError:
    """Return a 422 that names an unknown key and the allowed keys."""
    shown = name[:MAX_SHOWN].encode(errors="replace").decode()  # an unpaired surrogate is not valid JSON
    return invalid(f"unknown key {shown!r}; allowed: {', '.join(allowed)}", [*location, shown])


def check_text(value: Any, what: str, location: Sequence[str | int]) -> None:
    """Check that a value is a short, non-empty text that can be encoded as UTF-8.

    Raises:
        RequestError: a 422 otherwise.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise invalid(f"expected {what}, a text of 1 to {MAX_TEXT} characters", location, value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(f"expected {what}, a text without unpaired surrogates", location, None) from None


def fault(message: str, location: Sequence[str | int], value: Any) -> dict[str, Any]:
    """Return one entry of a 422 or 404 in FastAPI's form."""
    is_short = (
        value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= MAX_SHOWN)
    )
    return {"loc": ["body", *location], "msg": message, "input": value if is_short else None}
