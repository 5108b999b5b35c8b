"""Attribution of an unexpected error to the user's code, or to rlcl itself."""

from __future__ import annotations

import inspect
import re
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from rlcl.errors import RlclError

__all__ = ["user_error"]

PACKAGE = Path(__file__).parent
INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


def user_error(error: BaseException) -> RlclError | None:
    """Return an error in one line that names the last frame of the user's code in the traceback.

    The user's code is every file outside of rlcl and of the installed packages.

    Args:
        error: an error with its traceback.

    Returns:
        The error to print; None if the traceback contains none of the user's code.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_user_code(f.filename)]
    if not frames:
        return _invalid_call(error)
    last = frames[-1]
    message = str(error).splitlines()[0] if str(error) else "no message"
    return RlclError(
        f"{last.filename}:{last.lineno}: {last.name} raised {type(error).__name__}: {message}; fix it "
        "(the full traceback is in the run's log.txt)"
    )


def _invalid_call(error: BaseException) -> RlclError | None:
    """Return an error that names the user's function if rlcl called it with arguments that it does not accept.

    Its frame is not in the traceback: ``Net.build() takes 3 positional arguments but 4 were given``.
    """
    match = re.match(r"([\w.]+)\(\) (takes|missing|got)", str(error)) if isinstance(error, TypeError) else None
    if match is None:
        return None
    for module in [m for m in list(sys.modules.values()) if _is_user_code(getattr(m, "__file__", None) or "")]:
        function: Any = module
        for name in match[1].split("."):
            function = getattr(function, name, None)
        if getattr(function, "__module__", None) == module.__name__:
            line = inspect.unwrap(function).__code__.co_firstlineno
            return RlclError(f"{module.__file__}:{line}: {error}; rlcl.types lists the arguments of each method")
    return None


def _is_user_code(filename: str) -> bool:
    path = Path(filename)
    if not path.is_file():  # <string>, <frozen runpy>, a generated method
        return False
    path = path.resolve()
    main_script = Path(str(getattr(sys.modules["__main__"], "__file__", ""))).resolve()  # the console script
    return path != main_script and not any(path.is_relative_to(folder) for folder in (PACKAGE, *INSTALLED))
