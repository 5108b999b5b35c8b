"""Files with one JSON object per line; an incomplete last line is ignored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlcl.errors import RunFolderError
from rlcl.formats import parse_json
from rlcl.strict_json import json_text
from rlcl.tracking.checksum import Checksum

__all__ = ["JsonLines", "read_lines"]

REMEDY = "remove the run with rlcl runs rm and run it again"


class JsonLines:
    """Writer that appends objects to a file, one per line.

    Args:
        path: the file; it is created if it does not exist.
        length: number of existing bytes to keep; the file is truncated after them.
    """

    def __init__(self, path: Path, length: int) -> None:
        self._file = path.open("ab")
        self._file.truncate(length)
        self._file.seek(0, os.SEEK_END)
        self._digest = hashlib.sha256()
        with path.open("rb") as existing:
            while chunk := existing.read(1 << 20):
                self._digest.update(chunk)

    def append(self, row: Mapping[str, Any]) -> None:
        """Append an object as one line."""
        line = json_text(row, separators=(",", ":")).encode() + b"\n"
        self._file.write(line)
        self._digest.update(line)

    def length(self) -> int:
        """Write all data to the disk, and return the length of the file in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def checksum(self) -> Checksum:
        """Return the checksum of the file."""
        return Checksum(self._file.tell(), self._digest.hexdigest())

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def discard(self) -> None:
        """Close the file without writing the lines that are not on the disk yet."""
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), self._file.fileno())
        self._file.close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file; an incomplete last line, left by a crash, is ignored."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = parse_json(line)
            except ValueError as error:
                raise RunFolderError(f"{path}:{number} is damaged: it is not JSON; {REMEDY}") from error
            if not isinstance(row, dict):
                raise RunFolderError(f"{path}:{number} is damaged: it is not an object; {REMEDY}")
            yield row
