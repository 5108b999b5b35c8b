"""Bundle: a folder with a trained model and all data for serving and updating it.

``SHA256SUMS`` lists the checksums of all files except those of ``update/``, which has a separate list: serving does not
read ``update/``, and its stored examples can be deleted. Opening a bundle reads data and executes nothing.
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
from rlcl.formats import Format, parse_json
from rlcl.run_format import move_tensorboard_to_sinks

__all__ = ["FORMAT", "SUMS", "UPDATE", "Bundle", "not_a_bundle", "seal", "verify"]

FORMAT = Format("a bundle", 2, "Use the rlcl that wrote it, or export the run again.", {1: move_tensorboard_to_sinks})
SUMS, UPDATE = "SHA256SUMS", "update"
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


@define(eq=False, slots=False)
class Bundle:
    """Bundle with verified files; created by :meth:`open`.

    Args:
        path: folder of the bundle.
    """

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Verify every file that serving uses, and open the bundle.

        Raises:
            BundleError: a file is missing, changed, unknown or outside the folder, or the version of the bundle is not
                supported.
        """
        folder = Path(path)
        if not (folder / SUMS).is_file():
            raise not_a_bundle(folder)
        verify(folder)
        bundle = cls(folder)
        if fault := FORMAT.version_fault(bundle.manifest.get("format")):
            raise BundleError(f"{folder}: {fault}")
        return bundle

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Manifest of the bundle: lineage, data, dependencies, held-out sets."""
        try:
            data: dict[str, Any] = parse_json((self.path / "manifest.json").read_text())
            if not isinstance(data, dict):
                raise ValueError("expected an object")
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.path / 'manifest.json'} cannot be read: {error}; export the run again") from error
        return data

    @cached_property
    def signature(self) -> Signature:
        """Signature of the model."""
        return Signature.read(self.path / "signature.json")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ``SHA256SUMS``, and so of all served files; it identifies the bundle in logs."""
        return _sha256(self.path / SUMS)

    @property
    def update(self) -> Path:
        """Folder of the update part, with verified files.

        Raises:
            BundleError: the bundle was exported without this part, or a file is missing or changed.
        """
        part = self.path / UPDATE
        if not (part / SUMS).is_file():
            raise BundleError(
                f"{self.path} has no {UPDATE} part, so it can be served but not updated; export the run with it"
            )
        verify(part)
        return part


def not_a_bundle(folder: Path) -> BundleError:
    """Return the error for a folder that is not a bundle."""
    return BundleError(f"{folder} is not a bundle (it has no {SUMS}); create one with rlcl export RUN")


def seal(folder: Path) -> None:
    """Write ``SHA256SUMS`` of all files of a folder except those of its ``update`` part."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in sorted(_files(folder))]
    (folder / SUMS).write_text("".join(lines))


def verify(folder: Path) -> None:
    """Compare every file with ``SHA256SUMS``.

    Raises:
        BundleError: a file is missing, changed, unknown or outside the folder; the message names the first one.
    """
    remedy = "restore the bundle, or export the run again"
    listed: dict[str, str] = {}
    for number, line in enumerate((folder / SUMS).read_text(errors="replace").splitlines(), 1):
        match = LINE.fullmatch(line)
        if match is None:
            raise BundleError(f"{folder / SUMS}:{number}: expected a SHA-256 checksum and a file name; {remedy}")
        listed[match[2]] = match[1]
    if not listed:
        raise BundleError(f"{folder / SUMS} is empty, so the file is truncated; {remedy}")
    present = _files(folder)
    for name, digest in listed.items():
        if name not in present:
            fault = "is outside the bundle" if _is_outside(name) else "is missing"
            raise BundleError(f"{folder / name} {fault}; {remedy}")
        if _sha256(folder / name) != digest:
            raise BundleError(f"{folder / name} was changed: its SHA-256 differs from {SUMS}; {remedy}")
    for name in sorted(present - set(listed)):
        raise BundleError(
            f"{folder / name} is not listed in {SUMS}; remove it if it does not belong to the bundle, else {remedy}"
        )


def _is_outside(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(name).parts


def _files(folder: Path) -> set[str]:
    """Return the relative names of the files of a folder, without the ``update`` part and ``SHA256SUMS``.

    Raises:
        BundleError: a file is a link, which could point anywhere.
    """
    names = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_symlink():
            raise BundleError(f"{path} is a link, and a bundle contains plain files only; replace the link by the file")
        if name.parts[0] == UPDATE or str(name) == SUMS:
            continue
        if path.is_file():
            names.add(name.as_posix())
    return names


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
