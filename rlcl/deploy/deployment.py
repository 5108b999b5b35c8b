"""Which bundle answers, and what has happened since: the folder beside a bundle, ``BUNDLE.live/``.

It holds ``alias.json`` (replaced atomically), ``log.sqlite`` (requests and feedback), ``candidates/`` (bundles that
updates made), ``drift.jsonl`` and ``audit.jsonl``. The bundle itself never changes.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from rlcl.deploy.bundle import Bundle
from rlcl.errors import BundleError

__all__ = ["Deployment"]


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))


@define(eq=False)
class Deployment:
    """The life of one bundle after export.

    Args:
        bundle: the folder that was exported.
        folder: where its life is kept, ``BUNDLE.live`` by default.
    """

    bundle: Path = field(converter=_absolute)
    folder: Path = field(converter=Path)

    @folder.default
    def _beside(self) -> Path:
        return self.bundle.with_name(f"{self.bundle.name}.live")

    @property
    def log(self) -> Path:
        """Requests and feedback; see :class:`rlcl.deploy.log.Log`."""
        return self.folder / "log.sqlite"

    @property
    def drift(self) -> Path:
        return self.folder / "drift.jsonl"

    @property
    def candidates(self) -> Path:
        return self.folder / "candidates"

    @property
    def alias(self) -> Path:
        """``{"current": NAME, "before": [NAME, ...]}``; NAME is ``.`` for the bundle itself, else a candidate's."""
        return self.folder / "alias.json"

    def names(self) -> list[str]:
        """The current bundle's name, and those before it, the latest first."""
        if not self.alias.is_file():
            return ["."]
        try:
            data = json.loads(self.alias.read_text())
            names = [data["current"], *data["before"]]
            if not all((isinstance(n, str) and Path(n).name == n) or n == "." for n in names):
                raise ValueError(f"names {names}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{self.alias} is damaged ({error}); remove it to serve {self.bundle} again") from error
        return names

    def place(self, name: str) -> Path:
        """The folder of a bundle by its name in the alias."""
        return self.bundle if name == "." else self.candidates / name

    def current(self) -> Bundle:
        """The bundle that answers.

        Raises:
            BundleError: it is damaged, or the alias is.
        """
        return Bundle.open(self.place(self.names()[0]))

    def point(self, names: list[str]) -> None:
        """Flips the alias atomically: the first name answers from now on, the others came before it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".alias.{os.getpid()}"
        temporary.write_text(json.dumps({"current": names[0], "before": names[1:]}) + "\n")
        temporary.replace(self.alias)

    def audit(self, what: str, details: Mapping[str, Any]) -> None:
        """Adds a line to ``audit.jsonl``: who, when, what, details, and the digest of the line before it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "audit.jsonl"
        lines = path.read_bytes().splitlines() if path.is_file() else []
        before = hashlib.sha256(lines[-1]).hexdigest() if lines else None
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"when": when, "who": getpass.getuser(), "what": what, **details, "before": before}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
