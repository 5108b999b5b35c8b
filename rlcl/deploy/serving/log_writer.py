"""Writer of the log: one thread that commits answers and feedback in the order of their arrival."""

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

from rlcl.deploy.log import Answer, Feedback, RequestLog, pack_rows
from rlcl.deploy.serving.batching import BatchResult
from rlcl.deploy.serving.request_errors import RequestError
from rlcl.deploy.signature import Signature

__all__ = ["LogWriter", "NullLogWriter"]

GATHER_SECONDS = 0.01  # that answers wait for others to share a transaction with; feedback ends the wait
RETRY_SECONDS = 0.5  # between attempts while the log cannot be written
PATIENCE_SECONDS = 2.0  # to wait for another process that has locked the log
MAX_WAITING_ROWS = 100_000  # while the log cannot be written; further rows are lost, and counted


@frozen(eq=False)
class FeedbackJob:
    """Feedback whose client waits for the commit."""

    items: Sequence[Feedback]
    done: asyncio.Future[list[bool]]


class NullLogWriter:
    """A writer for a server without a log: it discards answers and rejects feedback."""

    ready = True
    waiting = 0
    committed = 0
    lost = 0

    def add_answers(self, result: BatchResult) -> None:
        """Discard answers."""

    def add_feedback(self, items: Sequence[Feedback]) -> asyncio.Future[list[bool]]:
        """Reject feedback.

        Raises:
            RequestError: always.
        """
        raise RequestError(409, "no_log", "the server keeps no log (--no-log), and feedback needs logged answers")

    def close(self, seconds: float) -> bool:
        """Return True: nothing is left to write."""
        return True


@define(eq=False)
class LogWriter:
    """A writer of answers and feedback in a separate thread; its methods are for the event loop's thread.

    Answers are sent before they are committed, acknowledgments of feedback afterwards. Both go through one queue, so
    that feedback always finds its answer.

    Args:
        path: file of the log.
        max_queue: maximum number of waiting requests with feedback.

    Raises:
        BundleError: the log cannot be opened.
    """

    path: Path
    max_queue: int
    ready: bool = field(init=False, default=True)  # whether the last commit succeeded
    committed: int = field(init=False, default=0)  # rows
    lost: int = field(init=False, default=0)  # rows
    _added_rows: int = field(init=False, default=0)
    _written_rows: int = field(init=False, default=0)
    _waiting_feedback: int = field(init=False, default=0)
    _jobs: SimpleQueue[BatchResult | FeedbackJob | None] = field(init=False, factory=SimpleQueue)
    _urgent: threading.Event = field(init=False, factory=threading.Event)
    _log: RequestLog = field(init=False)
    _inode: int = field(init=False)
    _registered: set[str] = field(init=False, factory=set)
    _unwritten: list[Answer] = field(init=False, factory=list)
    _signatures: dict[str, Signature] = field(init=False, factory=dict)
    _finished: bool = field(init=False, default=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._open()
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows that are answered but not yet committed."""
        return self._added_rows - self._written_rows

    def add_answers(self, result: BatchResult) -> None:
        """Add the answers of one run to the queue."""
        if self.waiting + len(result.ids) > MAX_WAITING_ROWS:
            self.lost += len(result.ids)
            return
        self._added_rows += len(result.ids)
        self._jobs.put(result)

    def add_feedback(self, items: Sequence[Feedback]) -> asyncio.Future[list[bool]]:
        """Add feedback to the queue.

        Returns:
            A future that is done after the commit: for each item whether its answer is in the log.

        Raises:
            RequestError: the queue is full.
        """
        if self._waiting_feedback >= self.max_queue:
            raise RequestError(503, "busy", "too much feedback is waiting; try again", {"retry-after": "1"})
        done: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        self._waiting_feedback += 1
        self._jobs.put(FeedbackJob(items, done))
        self._urgent.set()
        return done

    def close(self, seconds: float) -> bool:
        """Write what is left in the queue, and stop the thread.

        Args:
            seconds: maximum time to wait.

        Returns:
            Whether everything was written.
        """
        self._jobs.put(None)
        self._urgent.set()
        self._thread.join(seconds)
        return not self._thread.is_alive() and self.waiting == 0

    def _open(self) -> None:
        self._log = RequestLog.open(self.path, write=True, patience=PATIENCE_SECONDS)
        self._inode = self.path.stat().st_ino
        self._registered.clear()

    def _work(self) -> None:
        while not self._finished:
            jobs = self._next_jobs()
            self._commit(
                [job for job in jobs if isinstance(job, BatchResult)],
                [job for job in jobs if isinstance(job, FeedbackJob)],
            )
        self._log.close()

    def _next_jobs(self) -> list[BatchResult | FeedbackJob]:
        """Wait for jobs, and return all of them; after a failed commit, the list may be empty, for another attempt."""
        jobs = []
        try:
            jobs.append(self._jobs.get(timeout=RETRY_SECONDS if self._unwritten or not self.ready else None))
            if isinstance(jobs[0], BatchResult):
                self._urgent.wait(GATHER_SECONDS)
            self._urgent.clear()
            while True:
                jobs.append(self._jobs.get_nowait())
        except Empty:
            self._finished = None in jobs
            return [job for job in jobs if job is not None]

    def _commit(self, results: list[BatchResult], feedback_jobs: list[FeedbackJob]) -> None:
        self._unwritten += [answer for result in results for answer in _answers(result)]
        self._signatures.update({result.loaded.digest: result.loaded.signature for result in results})
        try:
            known = self._write([item for job in feedback_jobs for item in job.items])
        except Exception as error:  # the thread must survive any error: it may be temporary, for example a full disk
            if self.ready:
                self._print(f"the log cannot be written: {error}")
            self.ready = False
            for job in feedback_jobs:
                _call_in_loop(job, self._fail, job)
            return
        if not self.ready:
            self._print("the log can be written again")
        self.ready = True
        for job in feedback_jobs:
            known_items, known = known[: len(job.items)], known[len(job.items) :]
            _call_in_loop(job, self._succeed, job, known_items)

    def _write(self, feedback: list[Feedback]) -> list[bool]:
        if not self.path.is_file() or self.path.stat().st_ino != self._inode:  # the file was moved away
            self._log.close()
            self._inode = -1
            self._open()
        for digest, signature in self._signatures.items():
            if digest not in self._registered:
                self._log.register(digest, signature)
                self._registered.add(digest)
        known = self._log.write(self._unwritten, feedback)
        self._written_rows += len(self._unwritten)
        self.committed += len(self._unwritten)
        self._unwritten = []
        return known

    def _succeed(self, job: FeedbackJob, known: list[bool]) -> None:
        self._waiting_feedback -= 1
        if not job.done.done():  # else its client has disconnected, or its timeout has expired
            job.done.set_result(known)

    def _fail(self, job: FeedbackJob) -> None:
        self._waiting_feedback -= 1
        if not job.done.done():
            message = "the log cannot be written now; none of this feedback was logged; try again"
            job.done.set_exception(RequestError(503, "log", message, {"retry-after": "1"}))

    @staticmethod
    def _print(message: str) -> None:
        print(f"rlcl: {time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)  # noqa: T201


def _call_in_loop(job: FeedbackJob, function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in the event loop's thread, unless the loop is already closed."""
    with suppress(RuntimeError):
        job.done.get_loop().call_soon_threadsafe(function, *arguments)


def _answers(result: BatchResult) -> list[Answer]:
    signature = result.loaded.signature
    columns: Any = (
        result.ids,
        result.task_ids,
        pack_rows(signature.inputs, result.arrays),
        pack_rows(signature.outputs, result.outputs),
        result.episodes,
    )
    digest = result.loaded.digest
    return [
        Answer(id=i, time=result.time, bundle=digest, task_id=task, input=x, output=y, episode=episode)
        for i, task, x, y, episode in zip(*columns, strict=True)
    ]
