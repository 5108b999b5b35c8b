"""One process at a time: the lock of a file, which the system gives back whatever becomes of its holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Held", "is_held", "locked"]

LOOK_SECONDS = 0.05  # for which another process may hold a lock that it only looks at


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
        if wait:
            fcntl.flock(handle, fcntl.LOCK_EX)
        elif not _taken(handle):
            raise Held(_holder(path))
        if not is_folder:
            with suppress(OSError):  # on a full disk nobody is told, and all else goes on
                os.ftruncate(handle, 0)
                os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    """Whether a lock could be had, at once but for processes that only look at it."""
    until = time.monotonic() + LOOK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(LOOK_SECONDS / 10)
        else:
            return True


def is_held(path: Path) -> bool:
    """Whether a process has the lock of a file; nothing is made or changed.

    A file that is not there was never locked. Of one that may not be read nobody can tell, and it counts as held.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return True
    finally:
        os.close(handle)
    return False


def _holder(path: Path) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return "unknown"
    return text if text.isdigit() else "unknown"
