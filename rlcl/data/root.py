"""Where data sets lie."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["data_root", "root_origin"]


def data_root() -> Path:
    """``$RLCL_DATA``, else ``./data``."""
    return Path(os.environ.get("RLCL_DATA") or "data")


def root_origin() -> str:
    """Where the root comes from, for messages."""
    return "$RLCL_DATA" if os.environ.get("RLCL_DATA") else "RLCL_DATA is not set, so ./data"
