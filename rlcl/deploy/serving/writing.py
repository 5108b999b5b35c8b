"""One thread writes the log, in the order in which things came."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from attrs import define, field, frozen

from rlcl.deploy.log import Answer, Feedback, Log, packed_rows
from rlcl.deploy.serving.batching import Ran
from rlcl.deploy.serving.refused import Refused
from rlcl.deploy.signature import Signature

__all__ = ["Silent", "Writer"]

GATHER_SECONDS = 0.01  # how long answers wait for others to share a transaction with; feedback ends the wait
RETRY_SECONDS = 0.5  # between tries while the log cannot be written
PATIENCE_SECONDS = 2.0  # for another process that holds the log
KEPT_ROWS = 100_000  # that wait while the log cannot be written; later ones are lost, and counted


@frozen(eq=False)
class Told:
    """Feedback whose client waits for the commit."""

    items: Sequence[Feedback]
    done: asyncio.Future[list[bool]]


class Silent:
    """No log: nothing is kept, and feedback is refused."""

    ready = True
    waiting = 0
    kept = 0
    lost = 0

    def keep(self, ran: Ran) -> None:
        """Forgets it."""

    def tell(self, items: Sequence[Feedback]) -> asyncio.Future[list[bool]]:
        """
        Raises:
            Refused: always.
        """
        raise Refused(409, "no_log", "the server keeps no log (--no-log), so that feedback has no answer to belong to")

    def close(self, seconds: float) -> bool:
        """Nothing is left to write."""
        return True


@define(eq=False)
class Writer:
    """Writes what the server has answered and was told; its methods are for the event loop's thread.

    Requests are answered before they are committed, feedback after it. Both go through one queue, so that feedback
    finds its answer however fresh it is.

    Args:
        path: of the log.
        max_queue: requests of feedback that may wait.

    Raises:
        BundleError: the log cannot be opened.
    """

    path: Path
    max_queue: int
    ready: bool = field(init=False, default=True)  # whether the last commit succeeded
    kept: int = field(init=False, default=0)  # rows that are committed
    lost: int = field(init=False, default=0)
    _came: int = field(init=False, default=0)
    _gone: int = field(init=False, default=0)
    _told: int = field(init=False, default=0)
    _jobs: SimpleQueue[Ran | Told | None] = field(init=False, factory=SimpleQueue)
    _urgent: threading.Event = field(init=False, factory=threading.Event)
    _log: Log = field(init=False)
    _inode: int = field(init=False)
    _registered: set[str] = field(init=False, factory=set)
    _unwritten: list[Answer] = field(init=False, factory=list)
    _signatures: dict[str, Signature] = field(init=False, factory=dict)
    _ended: bool = field(init=False, default=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._open()
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows that are answered and not yet committed."""
        return self._came - self._gone

    def keep(self, ran: Ran) -> None:
        """Takes what a run has answered; it is committed soon."""
        if self.waiting + len(ran.ids) > KEPT_ROWS:
            self.lost += len(ran.ids)
            return
        self._came += len(ran.ids)
        self._jobs.put(ran)

    def tell(self, items: Sequence[Feedback]) -> asyncio.Future[list[bool]]:
        """Takes feedback.

        Returns:
            Whether each one's answer is known, once it is committed.

        Raises:
            Refused: too much waits already.
        """
        if self._told >= self.max_queue:
            raise Refused(503, "busy", "too much feedback is waiting; try again", {"retry-after": "1"})
        done: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        self._told += 1
        self._jobs.put(Told(items, done))
        self._urgent.set()
        return done

    def close(self, seconds: float) -> bool:
        """Writes what is left.

        Args:
            seconds: to wait for it.

        Returns:
            Whether all was written.
        """
        self._jobs.put(None)
        self._urgent.set()
        self._thread.join(seconds)
        return not self._thread.is_alive() and self.waiting == 0

    def _open(self) -> None:
        self._log = Log.open(self.path, write=True, patience=PATIENCE_SECONDS)
        self._inode = self.path.stat().st_ino
        self._registered.clear()

    def _work(self) -> None:
        while not self._ended:
            jobs = self._gathered()
            self._commit([job for job in jobs if isinstance(job, Ran)], [job for job in jobs if isinstance(job, Told)])
        self._log.close()

    def _gathered(self) -> list[Ran | Told]:
        """All that waits; after an error also nothing, for what could not be written is tried again."""
        jobs = []
        try:
            jobs.append(self._jobs.get(timeout=RETRY_SECONDS if self._unwritten or not self.ready else None))
            if isinstance(jobs[0], Ran):
                self._urgent.wait(GATHER_SECONDS)
            self._urgent.clear()
            while True:
                jobs.append(self._jobs.get_nowait())
        except Empty:
            self._ended = None in jobs
            return [job for job in jobs if job is not None]

    def _commit(self, runs: list[Ran], told: list[Told]) -> None:
        self._unwritten += [answer for ran in runs for answer in _answers(ran)]
        self._signatures.update({ran.served.digest: ran.served.signature for ran in runs})
        try:
            known = self._write([item for each in told for item in each.items])
        except Exception as error:  # whatever it is, the thread has to live on: it may pass, as a full disk does
            if self.ready:
                self._say(f"the log cannot be written: {error}")
            self.ready = False
            for each in told:
                _hand_over(each, self._failed, each)
            return
        if not self.ready:
            self._say("the log is written again")
        self.ready = True
        for each in told:
            mine, known = known[: len(each.items)], known[len(each.items) :]
            _hand_over(each, self._succeeded, each, mine)

    def _write(self, feedback: list[Feedback]) -> list[bool]:
        if not self.path.is_file() or self.path.stat().st_ino != self._inode:  # it was moved away
            self._log.close()
            self._inode = -1
            self._open()
        for digest, signature in self._signatures.items():
            if digest not in self._registered:
                self._log.register(digest, signature)
                self._registered.add(digest)
        known = self._log.write(self._unwritten, feedback)
        self._gone += len(self._unwritten)
        self.kept += len(self._unwritten)
        self._unwritten = []
        return known

    def _succeeded(self, told: Told, known: list[bool]) -> None:
        self._told -= 1
        if not told.done.done():  # else its client has gone, or was told that it took too long
            told.done.set_result(known)

    def _failed(self, told: Told) -> None:
        self._told -= 1
        if not told.done.done():
            message = "the log cannot be written now, so that nothing of it was kept; try again"
            told.done.set_exception(Refused(503, "log", message, {"retry-after": "1"}))

    @staticmethod
    def _say(message: str) -> None:
        print(f"rlcl: {time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)  # noqa: T201


def _hand_over(told: Told, call: Callable[..., None], *arguments: Any) -> None:
    """Calls something in the event loop's thread, unless that has ended without waiting."""
    with suppress(RuntimeError):
        told.done.get_loop().call_soon_threadsafe(call, *arguments)


def _answers(ran: Ran) -> list[Answer]:
    signature = ran.served.signature
    columns: Any = (
        ran.ids,
        ran.task_ids,
        packed_rows(signature.inputs, ran.arrays),
        packed_rows(signature.outputs, ran.outputs),
        ran.episodes,
    )
    return [
        Answer(id=i, time=ran.time, bundle=ran.served.digest, task_id=task, input=given, output=got, episode=episode)
        for i, task, given, got, episode in zip(*columns, strict=True)
    ]
