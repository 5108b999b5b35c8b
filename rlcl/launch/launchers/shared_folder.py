"""Folders that machines share or do not share, and runs that are carried between machines that do not."""

from __future__ import annotations

import io
import secrets
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field

from rlcl.lock import LOCK
from rlcl.tracking.merge import merge_runs

__all__ = ["Token", "pack_runs", "sees", "unpack_runs"]


@define
class Token:
    """A file with a random text, by which a process on another machine recognizes a shared folder.

    Args:
        folder: the folder; it is created.
    """

    folder: Path
    text: str = field(init=False, factory=lambda: secrets.token_hex(16))

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(self.text)

    @property
    def file(self) -> Path:
        """The file; its name is unique."""
        return self.folder.resolve() / f".token-{self.text[:12]}"

    def remove(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self.file.unlink()


def sees(file: str, text: str) -> bool:
    """Return whether this process sees the file of a token, and not another file with this path."""
    try:
        return Path(file).read_text() == text
    except (OSError, UnicodeDecodeError):
        return False


def pack_runs(root: Path, runs: Iterable[Path]) -> bytes:
    """Return the files of some runs as a zip archive.

    Args:
        root: folder of all runs; the paths in the archive are relative to it.
        runs: the runs' folders, or folders of several runs.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for run in runs for path in run.rglob("*")):
            if path.is_file() and not path.is_symlink() and not path.name.startswith(LOCK):
                archive.write(path, path.relative_to(root))
    return buffer.getvalue()


def unpack_runs(content: bytes, root: Path) -> list[Path]:
    """Copy the runs in an archive to a folder of runs, except those that are further there.

    Args:
        content: an archive from :func:`pack_runs`.
        root: folder of all runs.

    Returns:
        The folders of the experiments whose runs were copied.
    """
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root, prefix=".carried-") as folder, zipfile.ZipFile(io.BytesIO(content)) as archive:
        if not archive.namelist():
            return []
        archive.extractall(folder)  # keeps paths within the folder, and makes no links
        copied = [merged.run for merged in merge_runs(Path(folder), root) if merged.action == "copied"]
    return sorted({(root / run).parent for run in copied})
