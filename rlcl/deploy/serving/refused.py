"""A request that is not answered as it wished, and what is told instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["LONGEST", "Refused", "check_text", "fault", "invalid", "unknown_key"]

SHOWN = 100  # characters of a value that are told back
LONGEST = 100  # characters of a name: of a class, an episode, an id


class Refused(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        kind: a word for the metrics.
        detail: a sentence, or for 422 and 404 a list of ``{"loc": [...], "msg": ..., "input": ...}``.
        headers: beside the usual ones.
        more: further keys of the answer.
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


def invalid(message: str, place: Sequence[str | int] = (), value: Any = None) -> Refused:
    """A 422 that names the place in the body, and the value there where it is short."""
    return Refused(422, "invalid", [fault(message, place, value)])


def unknown_key(name: str, allowed: Sequence[str], place: Sequence[str | int] = ()) -> Refused:
    """A 422 that names a key which is none of those allowed."""
    shown = name[:SHOWN].encode(errors="replace").decode()  # half a character is no JSON
    return invalid(f"unknown key {shown!r}; allowed: {', '.join(allowed)}", [*place, shown])


def check_text(value: Any, what: str, place: Sequence[str | int]) -> None:
    """Raises a 422 for what is no short text of whole characters."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
        raise invalid(f"expected {what}, a text of 1 to {LONGEST} characters", place, value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(f"expected {what}, a text of whole characters", place, None) from None


def fault(message: str, place: Sequence[str | int], value: Any) -> dict[str, Any]:
    """One line of a 422 or 404, in the form of FastAPI, which clients know."""
    short = value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= SHOWN)
    return {"loc": ["body", *place], "msg": message, "input": value if short else None}
