"""Whose mistake an unexpected error is: rlcl's own, or that of a component which the user wrote."""

from __future__ import annotations

import inspect
import re
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from rlcl.errors import RlclError

__all__ = ["blamed"]

OURS = Path(__file__).parent
INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


def blamed(error: BaseException) -> RlclError | None:
    """The error in one line, where the last code that is neither rlcl's nor installed raised or let it through.

    Args:
        error: with its traceback.

    Returns:
        What to tell the user; None where no code of theirs was on the way.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    if not frames:
        return _refused_call(error)
    last = frames[-1]
    said = str(error).splitlines()[0] if str(error) else "no message"
    return RlclError(
        f"{last.filename}:{last.lineno}: {last.name} raised {type(error).__name__}: {said}; mend it "
        "(the whole traceback is in the run's log.txt)"
    )


def _refused_call(error: BaseException) -> RlclError | None:
    """The user's function that could not be called: ``Net.build() takes 3 positional arguments but 4 were given``."""
    found = re.match(r"([\w.]+)\(\) (takes|missing|got)", str(error)) if isinstance(error, TypeError) else None
    if found is None:
        return None
    for module in [m for m in list(sys.modules.values()) if _is_users(getattr(m, "__file__", None) or "")]:
        function: Any = module
        for name in found[1].split("."):
            function = getattr(function, name, None)
        if getattr(function, "__module__", None) == module.__name__:
            line = inspect.unwrap(function).__code__.co_firstlineno
            return RlclError(f"{module.__file__}:{line}: {error}; rlcl.types says what it is called with")
    return None


def _is_users(filename: str) -> bool:
    path = Path(filename)
    if not path.is_file():  # <string>, <frozen runpy>, a generated method
        return False
    path = path.resolve()
    started = Path(str(getattr(sys.modules["__main__"], "__file__", ""))).resolve()  # the console script
    return path != started and not any(path.is_relative_to(folder) for folder in (OURS, *INSTALLED))
