"""State of a deployed bundle: the folder ``BUNDLE.live/`` beside it.

The folder contains ``alias.json`` (the deployed bundle, replaced atomically), ``log.sqlite`` (requests and feedback),
``candidates/`` (bundles created by updates), ``drift.jsonl`` and ``audit.jsonl``. The bundle itself never changes.
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

from rlcl.deploy.bundle import SUMS, Bundle, not_a_bundle
from rlcl.errors import BundleError
from rlcl.formats import parse_json
from rlcl.lock import LOCK, LockHeldError, locked
from rlcl.strict_json import json_text

__all__ = ["Deployment"]


NAME = re.compile(r"[A-Za-z0-9_-][\w.-]*")  # a candidate's folder name


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))


@define(eq=False)
class Deployment:
    """Deployment of one exported bundle.

    Args:
        bundle: folder of the exported bundle.
        folder: folder of the deployment's state, ``BUNDLE.live`` by default.
    """

    bundle: Path = field(converter=_absolute)
    folder: Path = field(converter=Path)

    @folder.default
    def _beside(self) -> Path:
        return self.bundle.with_name(f"{self.bundle.name}.live")

    @property
    def log(self) -> Path:
        """Path of the log of requests and feedback; see :class:`rlcl.deploy.log.RequestLog`."""
        return self.folder / "log.sqlite"

    @property
    def drift(self) -> Path:
        """Path of the monitor's records."""
        return self.folder / "drift.jsonl"

    @property
    def candidates(self) -> Path:
        """Folder of the candidates."""
        return self.folder / "candidates"

    def candidate_names(self) -> list[str]:
        """Return the names of all candidates in ascending order."""
        if not self.candidates.is_dir():
            return []
        return sorted(path.name for path in self.candidates.iterdir() if (path / SUMS).is_file())

    def verdict_file(self, name: str) -> Path:
        """Return the path of a candidate's gate verdict: ``{"passed": true, ...}``."""
        return self.candidates / f"{name}.verdict.json"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock of the alias, so that no other process changes the alias.

        Raises:
            BundleError: another process holds the lock, or the folder cannot be written.
        """
        message = "another process ({holder}) is changing {folder}; try again when it has finished"
        with self.hold_lock(LOCK, message):
            yield

    @contextmanager
    def hold_lock(self, name: str, message: str) -> Iterator[None]:
        """Hold a lock of the folder.

        Args:
            name: name of the lock file.
            message: message of the error if another process holds the lock, with the placeholders ``{holder}`` (its
                process ID) and ``{folder}``.

        Raises:
            BundleError: another process holds the lock, the folder cannot be written, or the bundle does not exist.
        """
        if not (self.bundle / SUMS).is_file():
            raise not_a_bundle(self.bundle)
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.folder / name))
            except LockHeldError as error:
                raise BundleError(message.format(holder=error.holder, folder=self.folder)) from error
            except OSError as error:
                raise BundleError(
                    f"{self.folder} cannot be written ({error.strerror or error}); fix its permissions, or choose "
                    "another folder with --live"
                ) from error
            yield

    @property
    def alias(self) -> Path:
        """Path of ``{"current": NAME, "before": [NAME, ...]}``; NAME is a candidate, or ``.`` for the bundle."""
        return self.folder / "alias.json"

    def alias_names(self) -> list[str]:
        """Return the name of the deployed bundle, followed by the names of the previously deployed ones, latest first.

        Raises:
            BundleError: the alias is damaged.
        """
        if not self.alias.is_file():
            return ["."]
        try:
            data = parse_json(self.alias.read_text())
            names = [data["current"], *data["before"]]
            if not all(isinstance(n, str) and (n == "." or NAME.fullmatch(n)) for n in names):
                raise ValueError(f"names {names}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{self.alias} is damaged ({error}); remove it to serve {self.bundle} again") from error
        return names

    def bundle_folder(self, name: str) -> Path:
        """Return the folder of a bundle by its name in the alias."""
        return self.bundle if name == "." else self.candidates / name

    def current(self) -> Bundle:
        """Open the deployed bundle.

        Raises:
            BundleError: the bundle or the alias is damaged.
        """
        return Bundle.open(self.bundle_folder(self.alias_names()[0]))

    def digest(self, name: str) -> str | None:
        """Return the digest of a bundle by its name in the alias; None if the bundle is damaged."""
        try:
            return Bundle.open(self.bundle_folder(name)).digest
        except BundleError:
            return None

    def set_alias(self, names: list[str]) -> None:
        """Replace the alias atomically.

        Args:
            names: names of the bundle to deploy and of the previously deployed ones, latest first.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".alias.{os.getpid()}"
        with temporary.open("w") as file:
            file.write(json.dumps({"current": names[0], "before": names[1:]}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.alias)

    def audit(self, action: str, details: Mapping[str, Any]) -> None:
        """Append a line to ``audit.jsonl``: time, user, action, details, and the SHA-256 of the previous line."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "audit.jsonl"
        lines = path.read_bytes().splitlines() if path.is_file() else []
        previous = hashlib.sha256(lines[-1]).hexdigest() if lines else None
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"when": now, "who": getpass.getuser(), "what": action, **details, "before": previous}
        with path.open("a") as file:
            file.write(json_text(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
