"""Claims of cells, by which several processes, also on several machines, run one suite together."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from rlcl.lock import Lock, LockHeldError, LockLostError, Watch, acquire, is_held

__all__ = ["Session", "other_sessions"]

SESSION = "session-"  # beginning of the file name of a session


@define(eq=False)
class Session:
    """The claims of a process that runs cells of a suite.

    A claim is a lock whose heartbeat is that of the session. A session with a thousand claims has one heartbeat.

    Args:
        folder: folder of all sessions and claims of the suite; it is created.
    """

    folder: Path
    _lock: Lock = field(init=False)
    _claims: dict[str, Lock] = field(init=False, factory=dict)
    _watch: Watch = field(init=False, factory=Watch)

    def __attrs_post_init__(self) -> None:
        self._start()

    def claim(self, name: str) -> str:
        """Claim a cell; return the process that has claimed it already, or an empty text.

        Args:
            name: file name for the claim, without suffix.
        """
        try:
            self._lock.confirm()
        except LockLostError:  # this machine slept; the claims are no longer valid
            self._claims.clear()
            self._start()
        if name not in self._claims:
            try:
                self._claims[name] = acquire(self.folder / f"{name}.json", self._watch, self._lock.path)
            except LockHeldError as error:
                return f"process {error.holder}"
        return ""

    def release(self, name: str) -> None:
        """Release the claim of a cell."""
        if name in self._claims:
            self._claims.pop(name).release()

    def close(self) -> None:
        """Release all claims, and remove those of sessions that have ended without doing so."""
        for name in list(self._claims):
            self.release(name)
        self._lock.release()
        for path in [*self.folder.glob("*.json")]:
            with suppress(OSError, LockHeldError):
                acquire(path, self._watch).release()
        with suppress(OSError):  # another session is open
            self.folder.rmdir()

    def _start(self) -> None:
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # a session that ends has just removed the folder
                self._lock = acquire(self.folder / f"{SESSION}{secrets.token_hex(8)}.json", self._watch)
                self._lock.start_heartbeat()
                return


def other_sessions(folder: Path) -> int:
    """Return the number of open sessions in a folder."""
    return sum(is_held(path) for path in folder.glob(f"{SESSION}*.json"))
