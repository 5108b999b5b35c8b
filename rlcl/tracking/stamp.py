"""Length and digest of a run's records, by which a file that was cut or altered is known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs
from attrs import frozen

__all__ = ["Stamp"]

CHUNK = 1 << 20  # bytes


@frozen
class Stamp:
    """What a file's first bytes are.

    Args:
        length: of them.
        sha256: of these bytes, in hexadecimal digits.
    """

    length: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Self:
        """The stamp of what a file holds, or is to hold."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    @classmethod
    def of_file(cls, path: Path, length: int | None = None) -> Self:
        """The stamp of a file, or of its first bytes.

        Args:
            path: of the file; one that is not there is empty.
            length: of what counts; all by default.
        """
        digest, size = hashlib.sha256(), 0
        left = path.stat().st_size if length is None and path.is_file() else length or 0
        if path.is_file():
            with path.open("rb") as file:
                while size < left and (chunk := file.read(min(CHUNK, left - size))):
                    digest.update(chunk)
                    size += len(chunk)
        return cls(size, digest.hexdigest())

    @classmethod
    def in_summary(cls, summary: Mapping[str, Any]) -> Self | None:
        """What a summary keeps; None of a run that finished before there was a stamp."""
        found = summary.get("records")
        return None if found is None else cls(found["length"], found["sha256"])

    @property
    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return attrs.asdict(self)

    def fault(self, found: Stamp, kept_in: str) -> str:
        """How a file differs from this stamp; empty where it does not.

        Args:
            found: of ``records.jsonl`` as it is.
            kept_in: where this stamp is from, for the message.
        """
        if found == self:
            return ""
        how = (
            f"{found.length:,} bytes, {kept_in} says {self.length:,}"
            if found.length != self.length
            else "other content"
        )
        return (
            f"records.jsonl was cut or altered after it was written ({how}); restore it from a copy, or remove the run "
            "with rlcl runs rm and run it again"
        )
