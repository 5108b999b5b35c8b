"""One process at a time: the lock of a file, which the system gives back whatever becomes of its holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Held", "locked"]


class Held(Exception):
    """Another process has the lock.

    Args:
        holder: its number, or ``unknown``.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(f"held by process {holder}")
        self.holder = holder


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds the lock of a path; a file of it is made, and tells who holds it.

    A lock is given back when its file is closed, also by children that were forked meanwhile.

    Args:
        path: of a file in a folder that is there, or of a folder.
        wait: for another process, instead of an error.

    Raises:
        Held: another process has it.
        OSError: the file cannot be made.
    """
    is_folder = path.is_dir()
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise Held(_holder(path)) from error
        if not is_folder:
            with suppress(OSError):  # on a full disk nobody is told, and all else goes on
                os.ftruncate(handle, 0)
                os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def _holder(path: Path) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return "unknown"
    return text if text.isdigit() else "unknown"
