"""Files of one JSON object a line, which survive a torn last line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlcl.errors import RunFolderError
from rlcl.formats import parsed
from rlcl.strict_json import json_text
from rlcl.tracking.stamp import Stamp

__all__ = ["JsonLines", "read_lines"]


class JsonLines:
    """Appends objects to a file, one a line.

    Args:
        path: of the file; made where there is none.
        length: bytes to keep of what is there already; what follows is cut off.
    """

    def __init__(self, path: Path, length: int) -> None:
        self._file = path.open("ab")
        self._file.truncate(length)
        self._file.seek(0, os.SEEK_END)
        self._digest = hashlib.sha256()
        with path.open("rb") as kept:
            while chunk := kept.read(1 << 20):
                self._digest.update(chunk)

    def append(self, row: Mapping[str, Any]) -> None:
        line = json_text(row, separators=(",", ":")).encode() + b"\n"
        self._file.write(line)
        self._digest.update(line)

    def length(self) -> int:
        """Bytes written so far, all of them on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def stamp(self) -> Stamp:
        """Of what was written so far."""
        return Stamp(self._file.tell(), self._digest.hexdigest())

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the objects of a file; a torn last line, left by a crash, is passed over."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = parsed(line)
            except ValueError as error:
                raise RunFolderError(
                    f"{path}:{number} is damaged: it is no JSON; remove the run with rlcl runs rm and run it again"
                ) from error
            if not isinstance(row, dict):
                raise RunFolderError(
                    f"{path}:{number} is damaged: it is no object; remove the run with rlcl runs rm and run it again"
                )
            yield row
