"""Reuse of the parts that the configs of a suite have in common: a thousand cells differ in a few settings only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["reused", "sharing_parts"]

_parts: ContextVar[dict[Any, Any] | None] = ContextVar("parts", default=None)


@contextmanager
def sharing_parts() -> Iterator[None]:
    """Return a context in which equal parts of configs are read and converted once. Its configs must be plain data."""
    token = _parts.set({})
    try:
        yield
    finally:
        _parts.reset(token)


def reused(key: Callable[[], Any], compute: Callable[[], Any], keep: Any = None) -> Any:
    """Return the result of a computation, or that of an earlier one with the same key within :func:`sharing_parts`.

    Args:
        key: returns the key, which is computed only within the context.
        compute: the computation. The result must not be changed, and an exception is not stored.
        keep: object that must live as long as the key, for keys that contain its ``id``.
    """
    parts = _parts.get()
    if parts is None:
        return compute()
    name = key()
    if name not in parts:
        parts[name] = compute(), keep
    return parts[name][0]
