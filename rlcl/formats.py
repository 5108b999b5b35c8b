"""What is stored: JSON as it is parsed, versions, and how one that is older is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from rlcl.errors import Problem

__all__ = ["Format", "parsed"]

DEEPEST = 60  # brackets within each other, twice as many as rlcl ever writes


def parsed(text: str | bytes) -> Any:
    """The content of a text in JSON.

    Raises:
        ValueError: it is no JSON, no UTF-8, or nested more deeply than anything that is written here.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not _is_shallow(content, DEEPEST):
        raise ValueError("it is nested too deeply")
    return content


def _is_shallow(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    items = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_shallow(item, depth - 1) for item in items if isinstance(item, dict | list))


@frozen
class Format:
    """A stored form, as it is written today.

    Args:
        name: of what is stored, for messages.
        version: that is written.
        remedy: what to do with another version.
        migrations: by the version that they read: each makes the content one of the next version.
    """

    name: str
    version: int
    remedy: str
    migrations: Mapping[int, Callable[[Any], Any]] = field(factory=dict)

    @property
    def readable(self) -> tuple[int, ...]:
        """The versions that can be read, the oldest first."""
        oldest = self.version
        while oldest - 1 in self.migrations:
            oldest -= 1
        return tuple(range(oldest, self.version + 1))

    def read(self, version: Any, content: Any) -> Any:
        """The content as today's version has it.

        Args:
            version: that it was written in.
            content: as it was written.

        Raises:
            Problem: that version cannot be read.
        """
        if refused := self.refusal(version):
            raise Problem(refused)
        for step in range(version, self.version):
            content = self.migrations[step](content)
        return content

    def refusal(self, version: Any) -> str:
        """Why a version cannot be read; empty where it can."""
        if type(version) is int and version in self.readable:
            return ""
        known = " and ".join(map(str, self.readable))
        return f"{self.name} of version {version!r}; this rlcl reads version {known}. {self.remedy}"
