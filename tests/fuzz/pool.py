"""Cases in forked processes: one that hangs or dies takes nothing with it but itself."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import shutil
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from attrs import define, field, frozen

from fuzz.kind import Case, Kind

__all__ = ["Outcome", "outcomes", "take"]

MEMORY = 8 << 30  # bytes of address space that a case may ask for
CASES = 2000  # of a process, after which a fresh one takes its place
SHARED = Path("/dev/shm")  # where there is one, files cost no disk
FORK = multiprocessing.get_context("fork")


@frozen
class Outcome:
    """What came of a case.

    Args:
        seed: of it.
        word: what :meth:`fuzz.kind.Kind.take` said, or ``failed``, ``hung`` or ``died``.
        text: what was tried and how it failed; empty where it did not.
    """

    seed: int
    word: str
    text: str = ""

    @property
    def failed(self) -> bool:
        return self.word in ("failed", "hung", "died")


def take(kind: Kind, seed: int, folder: Path) -> Outcome:
    """Takes a case in this process."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    case = Case(seed, folder, random.Random(f"{kind.name} {seed}"))
    try:
        return Outcome(seed, kind.take(case))
    except Exception:
        return Outcome(seed, "failed", _text(case.tried, traceback.format_exc()))
    finally:
        (folder.with_suffix(".tried")).unlink(missing_ok=True)


def _text(tried: list[str], said: str) -> str:
    return "\n".join([*tried, "", said.rstrip()])


@define(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    seed: int | None = None
    since: float = field(factory=time.monotonic)
    taken: int = 0

    def give(self, seed: int) -> None:
        self.pipe.send(seed)
        self.seed, self.since = seed, time.monotonic()
        self.taken += 1

    def end(self) -> str:
        """Kills it with what it has started; how it ended."""
        if self.process.is_alive():
            with suppress(ProcessLookupError):  # one that was just forked has no group of its own yet
                os.killpg(self.process.pid or 0, signal.SIGKILL)
            self.process.kill()
        self.process.join()
        self.pipe.close()
        code = self.process.exitcode or 0
        return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def outcomes(kind: Kind, seeds: Iterator[int], workers: int, folder: Path) -> Iterator[Outcome]:
    """Takes cases until there are no more seeds.

    Args:
        kind: prepared.
        seeds: of the cases; asked for one when there is room for it.
        workers: processes at once.
        folder: where they work.

    Yields:
        Outcomes as they come.
    """
    folder = SHARED / f"rlcl-fuzz-{os.getpid()}" if SHARED.is_dir() else folder
    started = [_started(kind, folder / f"{kind.name}-{number}") for number in range(workers)]
    running = [worker for worker in started if _next(worker, seeds)]
    try:
        while running:
            wait([worker.pipe for worker in running], timeout=0.5)
            for number, worker in enumerate(running):
                found = _heard(worker, kind.seconds)
                if found is None:
                    continue
                yield found
                if found.word in ("hung", "died") or worker.taken >= CASES:
                    worker.end()
                    running[number] = _started(kind, folder / f"{kind.name}-{found.seed}")
                    started.append(running[number])
                if not _next(running[number], seeds):
                    running[number].seed = None
            running = [worker for worker in running if worker.seed is not None]
    finally:
        for worker in started:
            if worker.process.exitcode is None:
                worker.end()
        if folder.parent == SHARED:
            shutil.rmtree(folder, ignore_errors=True)


def _next(worker: _Worker, seeds: Iterator[int]) -> bool:
    seed = next(seeds, None)
    if seed is not None:
        worker.give(seed)
    return seed is not None


def _heard(worker: _Worker, seconds: float) -> Outcome | None:
    """What a process says of its case, or why it says nothing any more; None while it works."""
    assert worker.seed is not None
    try:
        if worker.pipe.poll():
            found: Outcome = worker.pipe.recv()
            return found
    except (EOFError, ConnectionResetError):
        worker.process.join(5)
        return Outcome(worker.seed, "died", f"exit status {worker.process.exitcode}")
    if time.monotonic() - worker.since > seconds:
        return Outcome(worker.seed, "hung", f"no end in {seconds:g} s")
    return None


def _started(kind: Kind, folder: Path) -> _Worker:
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=_work, args=(kind, folder, theirs, ours))
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _work(kind: Kind, folder: Path, pipe: Connection, parents: Connection) -> None:
    parents.close()
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        while True:
            pipe.send(take(kind, pipe.recv(), folder))
    except (EOFError, BrokenPipeError):
        pass
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)
