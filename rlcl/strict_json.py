"""Writer of standard JSON, in which NaN and infinite numbers are null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["json_text"]


def json_text(content: Any, *, indent: int | None = None, separators: tuple[str, str] | None = None) -> str:
    """Return plain data as standard JSON; NaN and infinite numbers, which JSON does not support, become null.

    Args:
        content: mappings, lists, texts, numbers, truth values and None.
        indent, separators: see :func:`json.dumps`.
    """
    try:
        return json.dumps(content, indent=indent, separators=separators, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(content), indent=indent, separators=separators, allow_nan=False)


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
