"""Locks for one process at a time, also between machines that share a folder.

A lock is a file that names its holder: machine, process and a random id. It is created exclusively and removed at the
end. The holder renews the file's modification time, its heartbeat. ``flock`` is not used, since many network file
systems do not support it. Clocks are not compared either: those of two machines may differ.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import attrs
from attrs import define, field, frozen

__all__ = [
    "LOCK",
    "Holder",
    "Lock",
    "LockHeldError",
    "LockLostError",
    "Watch",
    "acquire",
    "is_held",
    "lease_seconds",
    "locked",
]

LEASE_SECONDS = 60.0  # without a heartbeat, after which another machine may take over
BEATS_PER_LEASE = 6
LOCK = "lock.json"  # usual name of a lock file
POLL_SECONDS = 0.05
NAME = re.compile(r"[\w-][\w.-]*")


def lease_seconds() -> float:
    """Return the time without a heartbeat after which a lock is taken over: ``$RLCL_LEASE_SECONDS``, or 60."""
    with suppress(ValueError):
        return max(float(os.environ.get("RLCL_LEASE_SECONDS", LEASE_SECONDS)), 0.5)
    return LEASE_SECONDS


class LockHeldError(Exception):
    """Raised when another process holds the lock.

    Args:
        holder: process id of the holder, with its host if it runs on another machine; or ``unknown``.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(f"held by process {holder}")
        self.holder = holder


class LockLostError(Exception):
    """Raised when another process has taken over the lock, because this one was suspended or disconnected too long."""


@cache
def _machine() -> str:
    """Return an identifier of this boot of this machine, and of its process ids: containers have their own."""
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join([socket.gethostname(), *parts])


def _start_of(pid: int) -> int | None:
    """Return the start time of a process in clock ticks; None if it has ended, 0 if the system does not tell."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # a process of another user
        pass
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return None if state in "ZX" else int(fields[18])


@frozen
class Holder:
    """Content of a lock file.

    Args:
        id: random text, different for each acquisition.
        host: name of the holder's machine.
        machine: identifier of the machine's boot and of its process ids.
        pid: process id.
        start: start time of the process in clock ticks after the boot; 0 if it is unknown.
        heartbeat: name of a lock in the same folder whose heartbeat is that of this one; empty for its own.
    """

    id: str
    host: str = ""
    machine: str = ""
    pid: int = 0
    start: int = 0
    heartbeat: str = ""

    @classmethod
    def this_process(cls, heartbeat: str = "") -> Holder:
        """Return this process as a holder with a new id."""
        pid = os.getpid()
        return cls(secrets.token_hex(8), socket.gethostname(), _machine(), pid, _start_of(pid) or 0, heartbeat)

    @property
    def is_here(self) -> bool:
        """Whether the holder runs on this machine, so that its process id can be checked."""
        return self.machine == _machine()

    @property
    def is_running(self) -> bool:
        """Whether the process of a holder on this machine still runs."""
        start = _start_of(self.pid)
        return start is not None and (start == self.start or 0 in (start, self.start))

    def __str__(self) -> str:
        if not self.pid:
            return "unknown"
        return str(self.pid) if self.is_here else f"{self.pid} on {self.host}"


UNKNOWN = Holder("unknown")  # of a file without readable content


@define(eq=False)
class Watch:
    """Heartbeats of other machines that this process has seen, by lock.

    A lock whose heartbeat does not change during a lease, by the clock of this process, has no holder any more.
    """

    _seen: dict[Path, tuple[str, int, float]] = field(init=False, factory=dict)  # id, heartbeat, time first seen
    _beating: set[str] = field(init=False, factory=set)  # ids of holders whose heartbeat has changed meanwhile

    def silent_seconds(self, path: Path, holder: Holder) -> float:
        """Return for how long the heartbeat has not changed; infinity if it has ended."""
        beat = _heartbeat(path, holder)
        if beat is None:
            return float("inf")
        seen = self._seen.get(path)
        if seen is None or seen[:2] != (holder.id, beat):
            if seen is not None and seen[0] == holder.id:
                self._beating.add(holder.id)
            seen = self._seen[path] = (holder.id, beat, time.monotonic())
        return time.monotonic() - seen[2]

    def is_undecided(self, holder: Holder) -> bool:
        """Return True for a holder on another machine whose heartbeat has not changed yet."""
        return not holder.is_here and holder.id not in self._beating


@define(eq=False)
class Lock:
    """A lock that this process holds.

    Args:
        path: the lock file.
        holder: its content.
    """

    path: Path
    holder: Holder
    _lost: bool = field(init=False, default=False)
    _confirmed: float = field(init=False, factory=time.monotonic)  # last time at which the file named this holder
    _released: threading.Event = field(init=False, factory=threading.Event)

    def start_heartbeat(self) -> None:
        """Renew the heartbeat in a thread until the lock is released; without this, others may take the lock over."""
        threading.Thread(target=self._beat, name=f"heartbeat of {self.path.name}", daemon=True).start()

    def check(self) -> None:
        """Check that no other process has taken over the lock.

        Raises:
            LockLostError: another process has, or the file was removed.
        """
        with suppress(OSError):  # the file system is not available for a moment
            self._lost = self._lost or not self._is_own()
        if self._lost:
            raise LockLostError(f"{self.path} was taken over by another process, or removed")
        self._confirmed = time.monotonic()

    def confirm(self) -> None:
        """Do the same as :meth:`check`, but read the file only if its last heartbeat is late; this takes no time."""
        if self._lost or time.monotonic() - self._confirmed > lease_seconds() / 2:
            self.check()

    def release(self) -> None:
        """Remove the lock file, unless another process has taken it over."""
        self._released.set()
        with suppress(OSError):
            if os.getpid() == self.holder.pid and self._is_own():
                self.path.unlink()

    def _beat(self) -> None:
        while not self._lost and not self._released.wait(lease_seconds() / BEATS_PER_LEASE):
            with suppress(OSError):
                self._lost = not self._is_own()
                if not self._lost:
                    os.utime(self.path)
                    self._confirmed = time.monotonic()

    def _is_own(self) -> bool:
        """Return whether the file names this holder, or nobody, as on a full disk."""
        return _read(self.path) in (self.holder, UNKNOWN)


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[Lock]:
    """Hold the lock of a path while the context is open.

    A lock that another machine holds is watched until its heartbeat changes or a lease has passed.

    Args:
        path: the lock file, in an existing folder.
        wait: wait for another process instead of raising.

    Raises:
        LockHeldError: another process holds the lock.
        OSError: the file cannot be created.
    """
    watch = Watch()
    while True:
        try:
            lock = acquire(path, watch)
        except LockHeldError:
            other = _read(path)
            if not wait and other is not None and not watch.is_undecided(other):
                raise
            time.sleep(POLL_SECONDS)
        else:
            break
    try:
        lock.start_heartbeat()
        yield lock
    finally:
        lock.release()


def acquire(path: Path, watch: Watch, heartbeat: Path | None = None) -> Lock:
    """Acquire the lock of a path without waiting; the caller starts its heartbeat and releases it.

    Args:
        path: the lock file, in an existing folder.
        watch: the heartbeats seen so far. A lock of another machine is taken over if its heartbeat has not changed
            during a lease in which this function is called repeatedly.
        heartbeat: a lock in the same folder, held by this process, whose heartbeat is that of this lock too.

    Raises:
        LockHeldError: another process holds the lock, or may still hold it.
        OSError: the file cannot be created.
    """
    own = Holder.this_process("" if heartbeat is None else heartbeat.name)
    while not _create(path, own):
        other = _read(path)
        if other is None:
            if path.is_symlink():
                raise FileNotFoundError(errno.ENOENT, "it is a link to a file that does not exist", str(path))
            continue  # released in this moment
        if _is_alive(path, other, watch):
            raise LockHeldError(str(other))
        if _replace(path, other, own, watch):
            break
    return Lock(path, own)


def is_held(path: Path) -> bool:
    """Return True if a process holds the lock; nothing is created or changed.

    A lock of another machine counts as held if its heartbeat, by the clocks of both machines, is at most a lease old. A
    file without read permission counts as held.
    """
    try:
        other = _read(path)
    except OSError:
        return True
    if other is None:
        return False
    beat = _heartbeat(path, other)
    if other.is_here:
        return other.is_running and beat is not None
    return beat is not None and time.time() - beat / 1e9 <= lease_seconds()


def _is_alive(path: Path, other: Holder, watch: Watch) -> bool:
    if other.is_here:
        return other.is_running and _heartbeat(path, other) is not None
    return watch.silent_seconds(path, other) < lease_seconds()


def _replace(path: Path, other: Holder, own: Holder, watch: Watch) -> bool:
    """Replace a holder that has ended; return False if another process was faster.

    Only the holder of a second lock, named after the ended holder, may do this: two processes that both saw its end
    cannot replace each other.
    """
    right = acquire(path.with_name(f"{path.name}.{other.id}"), watch)
    try:
        if _read(path) != other:
            return False
        temporary = path.with_name(f".{path.name}.{own.id}")
        try:
            temporary.write_text(json.dumps(attrs.asdict(own)))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return True
    finally:
        right.release()


def _create(path: Path, holder: Holder) -> bool:
    """Create a lock file; return False if it exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        with suppress(OSError):  # on a full disk the lock works without its content
            os.write(handle, json.dumps(attrs.asdict(holder)).encode())
    finally:
        os.close(handle)
    return True


def _read(path: Path) -> Holder | None:
    """Return the holder of a lock; None without a lock, and an unknown holder if the file has no readable content."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return UNKNOWN
    try:
        content = json.loads(text)
        holder = Holder(**content)
    except (ValueError, TypeError, RecursionError):
        return UNKNOWN
    types_match = all(type(getattr(holder, name)) is type(value) for name, value in attrs.asdict(UNKNOWN).items())
    names = (holder.id, holder.heartbeat or holder.id)  # parts of file names
    return holder if types_match and holder.pid > 0 and all(map(NAME.fullmatch, names)) else UNKNOWN


def _heartbeat(path: Path, holder: Holder) -> int | None:
    """Return the time of the last heartbeat in nanoseconds, by the clock of the file system; None if it has ended."""
    try:
        return (path.with_name(holder.heartbeat) if holder.heartbeat else path).stat().st_mtime_ns
    except FileNotFoundError:
        return None
