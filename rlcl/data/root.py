"""Where data sets lie."""

from __future__ import annotations

import os
from pathlib import Path

from rlcl.errors import DataError

__all__ = ["data_root", "find_data", "root_origin"]


def data_root() -> Path:
    """``$RLCL_DATA``, else ``./data``."""
    return Path(os.environ.get("RLCL_DATA") or "data")


def root_origin() -> str:
    """Where the root comes from, for messages."""
    return "$RLCL_DATA" if os.environ.get("RLCL_DATA") else "RLCL_DATA is not set, so ./data"


def find_data(path: str, what: str = "data") -> Path:
    """A file or folder, from the working directory or the data root.

    Args:
        path: as a config gives it.
        what: it is, for the message.

    Raises:
        DataError: it is in neither place.
    """
    tried = [Path(path).expanduser(), data_root() / path]
    for place in tried:
        if place.exists():
            return place
    raise DataError(f"no {what} at {path}; looked for {' and '.join(str(p.resolve()) for p in tried)}")
