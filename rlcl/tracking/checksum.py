"""Checksum of a run's records, which detects truncated or modified files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs
from attrs import frozen

__all__ = ["Checksum"]

CHUNK = 1 << 20  # bytes


@frozen
class Checksum:
    """Length and SHA-256 of the first bytes of a file.

    Args:
        length: number of bytes.
        sha256: SHA-256 of these bytes, in hexadecimal digits.
    """

    length: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Return the checksum of the content of a file."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    @classmethod
    def of_file(cls, path: Path, length: int | None = None) -> Self:
        """Return the checksum of a file, or of its first bytes.

        Args:
            path: the file; a missing file counts as empty.
            length: number of bytes to include; all by default.
        """
        digest, size = hashlib.sha256(), 0
        end = path.stat().st_size if length is None and path.is_file() else length or 0
        if path.is_file():
            with path.open("rb") as file:
                while size < end and (chunk := file.read(min(CHUNK, end - size))):
                    digest.update(chunk)
                    size += len(chunk)
        return cls(size, digest.hexdigest())

    @classmethod
    def in_summary(cls, summary: Mapping[str, Any]) -> Self | None:
        """Return the checksum in a summary; None for a run of a former version, which has none."""
        records = summary.get("records")
        return None if records is None else cls(records["length"], records["sha256"])

    @property
    def as_json(self) -> dict[str, Any]:
        """The checksum as plain data."""
        return attrs.asdict(self)

    def mismatch(self, actual: Checksum, source: str) -> str:
        """Return a message if the records differ from this checksum, else an empty text.

        Args:
            actual: checksum of ``records.jsonl``.
            source: name of the file that contains this checksum, for the message.
        """
        if actual == self:
            return ""
        difference = (
            f"{actual.length:,} bytes, expected {self.length:,} according to {source}"
            if actual.length != self.length
            else "different content"
        )
        return (
            f"records.jsonl was truncated or modified after it was written ({difference}); restore it from a copy, or "
            "remove the run with rlcl runs rm and run it again"
        )
