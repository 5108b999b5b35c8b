"""File lock for one process at a time; the operating system releases it when its holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["LockHeldError", "is_held", "locked"]

PROBE_SECONDS = 0.05  # for which is_held of another process may hold the lock


class LockHeldError(Exception):
    """Raised when another process holds the lock.

    Args:
        holder: process id of the holder, or ``unknown``.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(f"held by process {holder}")
        self.holder = holder


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a path; a lock file is created and contains the process id of the holder.

    The lock is released when its file is closed, also by child processes that were forked in the meantime.

    Args:
        path: a file in an existing folder, or an existing folder.
        wait: wait for another process instead of raising.

    Raises:
        LockHeldError: another process holds the lock.
        OSError: the file cannot be created.
    """
    is_folder = path.is_dir()
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if wait:
            fcntl.flock(handle, fcntl.LOCK_EX)
        elif not _acquired(handle):
            raise LockHeldError(_holder(path))
        if not is_folder:
            with suppress(OSError):  # on a full disk the lock works without the process id
                os.ftruncate(handle, 0)
                os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def _acquired(handle: int) -> bool:
    """Acquire a lock without waiting, except for processes that only probe it; return False if it is held."""
    deadline = time.monotonic() + PROBE_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(PROBE_SECONDS / 10)
        else:
            return True


def is_held(path: Path) -> bool:
    """Return True if a process holds the lock of a file; nothing is created or changed.

    A missing file is not locked. A file without read permission counts as locked.
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
