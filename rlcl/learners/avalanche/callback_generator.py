"""Generator over the callbacks of a function, which runs in a separate thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import torch
from attrs import define, field

__all__ = ["callback_generator"]


class _Abandoned(BaseException):
    """Exception in a function whose generator was closed; a BaseException, so that libraries do not catch it."""


@define(eq=False)
class _Turns:
    """Semaphores by which caller and function alternate.

    Args:
        caller: released when the caller may continue.
        function: released when the function may continue.
        finished: whether the function has returned or raised.
        abandoned: whether the generator was closed.
        error: exception of the function.
    """

    caller: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))
    function: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))
    finished: bool = False
    abandoned: bool = False
    error: BaseException | None = None

    def hand_over(self) -> None:
        """Let the caller continue, and wait for it; called by the function."""
        self.caller.release()
        self.function.acquire()
        if self.abandoned:
            raise _Abandoned

    def take(self) -> None:
        """Let the function continue until it hands over or finishes; called by the caller."""
        self.function.release()
        self.caller.acquire()


def callback_generator(run: Callable[[Callable[[], None]], object]) -> Iterator[None]:
    """Run a function in a thread that advances only while the caller waits for it.

    Function and caller never run at the same time, so that they share random generators and state like one thread.

    Args:
        run: the function; it receives a callback, by which it hands over to the caller.

    Yields:
        None at each call of the callback. Closing the generator ends the function at its next call of the callback.

    Raises:
        BaseException: an exception of the function.
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
