"""A request that is not answered as it wished, and what is told instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Refused", "invalid"]

SHOWN = 100  # characters of a value that are told back


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


def fault(message: str, place: Sequence[str | int], value: Any) -> dict[str, Any]:
    """One line of a 422 or 404, in FastAPI's form."""
    short = value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= SHOWN)
    return {"loc": ["body", *place], "msg": message, "input": value if short else None}
