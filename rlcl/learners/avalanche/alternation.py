"""Turns a function that runs to its end into a generator that stops where the function says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import torch
from attrs import define, field

__all__ = ["alternating"]


class _Abandoned(BaseException):
    """Raised inside a function whose generator was closed; no ``except Exception`` of a library swallows it."""


@define(eq=False)
class _Turns:
    caller: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))
    function: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))
    finished: bool = False
    abandoned: bool = False
    error: BaseException | None = None

    def hand_over(self) -> None:
        """Called by the function: lets the caller go on, and waits for it."""
        self.caller.release()
        self.function.acquire()
        if self.abandoned:
            raise _Abandoned

    def take(self) -> None:
        """Called by the caller: lets the function go on until it hands over or ends."""
        self.function.release()
        self.caller.acquire()


def alternating(run: Callable[[Callable[[], None]], object]) -> Iterator[None]:
    """Runs a function in a thread that goes only while its caller waits for it.

    The two never run at once, so that they share generators and state as if there were one thread.

    Args:
        run: is given a function that it calls where the caller is to have its turn.

    Yields:
        At each of those calls. A generator that is closed ends the function at its next one.

    Raises:
        BaseException: what the function raised.
    """
    turns, threads = _Turns(), torch.get_num_threads()

    def body() -> None:
        turns.function.acquire()
        try:
            torch.set_num_threads(threads)  # a new thread starts with OpenMP's default, which changes the last bits
            run(turns.hand_over)
        except _Abandoned:
            pass
        except BaseException as error:
            turns.error = error
        finally:
            turns.finished = True
            turns.caller.release()

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    try:
        while True:
            turns.take()
            if turns.finished:
                break
            yield
    finally:
        if not turns.finished:
            turns.abandoned = True
            turns.function.release()
        thread.join()
    if turns.error is not None:
        raise turns.error
