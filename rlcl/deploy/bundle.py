"""A bundle: a folder that holds a trained model, and everything that serving and updating it needs.

``SHA256SUMS`` holds the checksum of every file but those of ``update/``, which has a list of its own: serving never
reads it, and its rows can be deleted. Opening a bundle reads data alone and executes nothing.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import define

from rlcl.deploy.signature import Signature
from rlcl.errors import BundleError
from rlcl.formats import Format, parsed
from rlcl.run_format import with_sinks

__all__ = ["FORMAT", "SUMS", "UPDATE", "Bundle", "no_bundle", "seal", "verify"]

FORMAT = Format("a bundle", 2, "Use the rlcl that wrote it, or export the run again.", {1: with_sinks})
SUMS, UPDATE = "SHA256SUMS", "update"
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


@define(eq=False, slots=False)
class Bundle:
    """A bundle whose files are as they were written; made by :meth:`open`.

    Args:
        path: its folder.
    """

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Opens a bundle after checking every file that serving uses.

        Raises:
            BundleError: a file is missing, changed, unknown or outside of the folder, or of another version.
        """
        folder = Path(path)
        if not (folder / SUMS).is_file():
            raise no_bundle(folder)
        verify(folder)
        bundle = cls(folder)
        if refused := FORMAT.refusal(bundle.manifest.get("format")):
            raise BundleError(f"{folder}: {refused}")
        return bundle

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Where the bundle comes from: lineage, data, dependencies, held-out sets."""
        try:
            data: dict[str, Any] = parsed((self.path / "manifest.json").read_text())
            if not isinstance(data, dict):
                raise ValueError("no mapping")
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.path / 'manifest.json'} cannot be read: {error}; export the run again") from error
        return data

    @cached_property
    def signature(self) -> Signature:
        return Signature.read(self.path / "signature.json")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ``SHA256SUMS``, so of everything that is served; it names the bundle in logs."""
        return _sha256(self.path / SUMS)

    @property
    def update(self) -> Path:
        """The part that updating alone needs, after checking its files.

        Raises:
            BundleError: it was not exported, or a file is missing or changed.
        """
        part = self.path / UPDATE
        if not (part / SUMS).is_file():
            raise BundleError(f"{self.path} has no {UPDATE} part, so it can be served alone; export the run with it")
        verify(part)
        return part


def no_bundle(folder: Path) -> BundleError:
    """What to say of a folder that is none."""
    return BundleError(f"{folder} is no bundle (it has no {SUMS}); make one with rlcl export RUN")


def seal(folder: Path) -> None:
    """Writes ``SHA256SUMS`` over every file of a folder, but those of its ``update`` part."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in sorted(_files(folder))]
    (folder / SUMS).write_text("".join(lines))


def verify(folder: Path) -> None:
    """Compares every file with ``SHA256SUMS``.

    Raises:
        BundleError: the first file that is missing, changed, unknown, or outside of the folder.
    """
    remedy = "restore the bundle, or export the run again"
    listed: dict[str, str] = {}
    for number, line in enumerate((folder / SUMS).read_text(errors="replace").splitlines(), 1):
        found = LINE.fullmatch(line)
        if found is None:
            raise BundleError(f"{folder / SUMS}:{number}: no checksum and file name; {remedy}")
        listed[found[2]] = found[1]
    if not listed:
        raise BundleError(f"{folder / SUMS} lists nothing, so it was cut off; {remedy}")
    present = _files(folder)
    for name, digest in listed.items():
        if name not in present:
            where = "lies outside of the bundle" if _outside(name) else "is missing"
            raise BundleError(f"{folder / name} {where}; {remedy}")
        if _sha256(folder / name) != digest:
            raise BundleError(f"{folder / name} was changed: its SHA-256 is not that of {SUMS}; {remedy}")
    for name in sorted(present - set(listed)):
        raise BundleError(f"{folder / name} is not in {SUMS}; remove it if it is not of the bundle, else {remedy}")


def _outside(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(name).parts


def _files(folder: Path) -> set[str]:
    """Files of a folder by their relative names.

    Raises:
        BundleError: one is a link, which could lead anywhere.
    """
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_symlink():
            raise BundleError(f"{path} is a link; a bundle holds plain files alone")
        if name.parts[0] == UPDATE or str(name) == SUMS:
            continue
        if path.is_file():
            found.add(name.as_posix())
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
