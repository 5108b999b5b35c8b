"""Parser of stored JSON, and versions of stored formats with their migrations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from rlcl.errors import Problem

__all__ = ["Format", "parse_json"]

MAX_DEPTH = 60  # nested brackets; rlcl writes at most half as many


def parse_json(text: str | bytes) -> Any:
    """Return the content of a JSON text.

    Raises:
        ValueError: the text is not JSON or not UTF-8, or it is nested more than ``MAX_DEPTH`` levels deep.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    brackets = ("{", "[") if isinstance(text, str) else (b"{", b"[")
    may_be_deep = sum(map(text.count, brackets)) > MAX_DEPTH  # type: ignore[arg-type]
    if may_be_deep and not _is_shallow(content, MAX_DEPTH):
        raise ValueError("it is nested too deeply")
    return content


def _is_shallow(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    items = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_shallow(item, depth - 1) for item in items if isinstance(item, dict | list))


@frozen
class Format:
    """A stored format and its versions.

    Args:
        name: name of the stored object, for messages.
        version: the current version, which is written.
        remedy: the remedy for a version that is not supported.
        migrations: by version; each converts content of that version to the next one.
    """

    name: str
    version: int
    remedy: str
    migrations: Mapping[int, Callable[[Any], Any]] = field(factory=dict)

    @property
    def readable(self) -> tuple[int, ...]:
        """Supported versions, the oldest first."""
        oldest = self.version
        while oldest - 1 in self.migrations:
            oldest -= 1
        return tuple(range(oldest, self.version + 1))

    def read(self, version: Any, content: Any) -> Any:
        """Return the content converted to the current version.

        Args:
            version: the version in which it was written.
            content: the stored content.

        Raises:
            Problem: the version is not supported.
        """
        if fault := self.version_fault(version):
            raise Problem(fault)
        for step in range(version, self.version):
            content = self.migrations[step](content)
        return content

    def version_fault(self, version: Any) -> str:
        """Return a message if a version is not supported, else an empty text."""
        if type(version) is int and version in self.readable:
            return ""
        supported = " and ".join(map(str, self.readable))
        return f"{self.name} of version {version!r}; this rlcl reads version {supported}. {self.remedy}"
