"""Which bundle answers, and what has happened since: the folder beside a bundle, ``BUNDLE.live/``.

It holds ``alias.json`` (replaced atomically), ``log.sqlite`` (requests and feedback), ``candidates/`` (bundles that
updates made), ``drift.jsonl`` and ``audit.jsonl``. The bundle itself never changes.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from rlcl.deploy.bundle import SUMS, Bundle, no_bundle
from rlcl.errors import BundleError
from rlcl.formats import parsed
from rlcl.lock import Held, locked
from rlcl.strict_json import json_text

__all__ = ["Deployment"]


NAME = re.compile(r"[A-Za-z0-9_-][\w.-]*")  # of a candidate's folder


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

    def candidate_names(self) -> list[str]:
        """All candidates, the last by name at the end."""
        if not self.candidates.is_dir():
            return []
        return sorted(path.name for path in self.candidates.iterdir() if (path / SUMS).is_file())

    def verdict(self, name: str) -> Path:
        """What its gate has said of a candidate: ``{"passed": true, ...}``."""
        return self.candidates / f"{name}.verdict.json"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps every other process from changing the alias meanwhile.

        Raises:
            BundleError: another one is at it, or the folder cannot be written.
        """
        told = "another process ({holder}) is changing {folder}; try again when it has ended"
        with self.held("lock", told):
            yield

    @contextmanager
    def held(self, name: str, told: str) -> Iterator[None]:
        """Holds one of the folder's locks.

        Args:
            name: of its file.
            told: what to say where another process has it, with ``{holder}``, its number, and ``{folder}``.

        Raises:
            BundleError: another process has it, the folder cannot be written, or it would be beside no bundle.
        """
        if not (self.bundle / SUMS).is_file():
            raise no_bundle(self.bundle)
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.folder / name))
            except Held as error:
                raise BundleError(told.format(holder=error.holder, folder=self.folder)) from error
            except OSError as error:
                raise BundleError(
                    f"{self.folder} cannot be written ({error.strerror or error}); mend its permissions, or choose "
                    "another folder with --live"
                ) from error
            yield

    @property
    def alias(self) -> Path:
        """``{"current": NAME, "before": [NAME, ...]}``; NAME is ``.`` for the bundle itself, else a candidate's."""
        return self.folder / "alias.json"

    def names(self) -> list[str]:
        """The current bundle's name, and those before it, the latest first."""
        if not self.alias.is_file():
            return ["."]
        try:
            data = parsed(self.alias.read_text())
            names = [data["current"], *data["before"]]
            if not all(isinstance(n, str) and (n == "." or NAME.fullmatch(n)) for n in names):
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

    def digest(self, name: str) -> str | None:
        """Of a bundle, by its name in the alias; None where it is damaged."""
        try:
            return Bundle.open(self.place(name)).digest
        except BundleError:
            return None

    def point(self, names: list[str]) -> None:
        """Flips the alias atomically: the first name answers from now on, the others came before it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".alias.{os.getpid()}"
        with temporary.open("w") as file:
            file.write(json.dumps({"current": names[0], "before": names[1:]}) + "\n")
            file.flush()
            os.fsync(file.fileno())
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
            file.write(json_text(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
