"""What a kind of case is, and what may come of one."""

from __future__ import annotations

import io
import random
import traceback
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field

from rlcl.errors import Problem, RlclError

__all__ = ["Case", "Failed", "Kind", "command", "refusable"]


class Failed(Exception):
    """A case that ended otherwise than it may."""


@define(eq=False)
class Case:
    """One case.

    Args:
        seed: that repeats it.
        folder: empty, for what it writes.
        rng: all that it draws from.
        tried: what is tried, in lines; shown if it fails.
    """

    seed: int
    folder: Path
    rng: random.Random
    tried: list[str] = field(factory=list)


class Kind(ABC):
    """Cases of one kind; a case says what came of it, and raises where it failed."""

    name: ClassVar[str]
    seconds: ClassVar[float] = 60.0  # after which a case hangs

    def prepare(self, folder: Path) -> None:  # noqa: B027  most need none
        """Makes once, before any process is forked, what all cases need."""

    @abstractmethod
    def take(self, case: Case) -> str:
        """Takes a case.

        Returns:
            ``passed``, ``refused``, or another word that is counted.

        Raises:
            Exception: it failed.
        """

    def watch(self, done: int, cases: int) -> None:  # noqa: B027  most need none
        """Called in the first process after each case."""

    def told(self) -> dict[str, Any]:
        """Further numbers for the results."""
        return {}

    def close(self) -> None:  # noqa: B027  most need none
        """Ends what :meth:`prepare` began."""


@contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Keeps all that is printed off the terminal; yields what goes to standard error."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield said


def command(arguments: Sequence[str]) -> tuple[int, str]:
    """Runs ``rlcl`` in this process.

    Returns:
        The exit status, and what went to standard error.

    Raises:
        Failed: it left without saying why.
        Exception: what ``rlcl`` let through.
    """
    from rlcl.commands import main

    with quiet() as said:
        try:
            main(list(arguments))
            status = 0
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else int(left.code is not None)
    text = said.getvalue()
    if status and not text.strip():
        raise Failed(f"rlcl {' '.join(arguments)}: exit status {status} without a message")
    if "Traceback (most recent call last)" in text:
        raise Failed(text)
    return status, text


def refusable(work: Callable[[], str], users: str = "") -> str:
    """What work says, or ``refused`` where it ends in one of rlcl's errors.

    Args:
        work: that may end so.
        users: a file whose own exceptions are not rlcl's.

    Raises:
        Failed: an error has no message.
        Exception: any other.
    """
    try:
        return work()
    except (RlclError, Problem) as error:
        if not str(error).strip():
            raise Failed(f"{type(error).__name__} without a message") from error
        return "refused"
    except Exception as error:
        if users and traceback.extract_tb(error.__traceback__)[-1].filename == users:
            return "raised by the user's code"
        raise
