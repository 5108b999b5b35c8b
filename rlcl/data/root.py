"""Root folder of data sets, and lookup of files in it."""

from __future__ import annotations

import os
from pathlib import Path

from rlcl.errors import DataError

__all__ = ["data_root", "find_data", "root_origin"]


def data_root() -> Path:
    """Return ``$RLCL_DATA``, or ``./data`` if it is not set."""
    return Path(os.environ.get("RLCL_DATA") or "data")


def root_origin() -> str:
    """Return the origin of the data root, for messages."""
    return "$RLCL_DATA" if os.environ.get("RLCL_DATA") else "RLCL_DATA is not set, so ./data"


def find_data(path: str, what: str = "data") -> Path:
    """Return the path of a file or folder in the working directory or in the data root.

    Args:
        path: path in the config.
        what: kind of file, for the message.

    Raises:
        DataError: it is in neither folder.
    """
    candidates = [Path(path).expanduser(), data_root() / path]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise DataError(f"no {what} at {path}; looked for {' and '.join(str(p.resolve()) for p in candidates)}")
