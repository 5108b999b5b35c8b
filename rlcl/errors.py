"""Errors that the user can fix; each is printed as one message without a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = [
    "BundleError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "EnvironmentApiError",
    "Problem",
    "RlclError",
    "RunFolderError",
    "SettingError",
    "UnseenTaskError",
    "UnsupportedError",
    "did_you_mean",
    "short_error",
]


class RlclError(Exception):
    """Raised for an error that the user can fix; the message names the remedy.

    The command line prints the message and exits with ``exit_status``.
    """

    exit_status = 1


class Problem(ValueError):
    """Raised when one value is invalid.

    Args:
        message: the fault and its remedy.
        where: key path of the value; callers may add it.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.where = where


class ConfigError(RlclError):
    """Raised when an experiment config is invalid; it lists all problems.

    Args:
        problems: one line each, ``file:line: key.path: problem; remedy``.
    """

    exit_status = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class DataError(RlclError):
    """Raised when data is missing, malformed or not finite."""


class SettingError(DataError):
    """Raised when a setting is unknown to its data set or environment, or not allowed for it."""

    exit_status = 2


class EnvironmentApiError(RlclError):
    """Raised when an environment violates the Gymnasium API."""


class UnsupportedError(RlclError):
    """Raised when two components are not compatible; the message names both and the reason."""

    exit_status = 2


class UnseenTaskError(RlclError):
    """Raised when a learner cannot predict for a task that it was not trained on; evaluation skips that task."""


class DivergenceError(RlclError):
    """Raised when a loss, a weight or a reward is not finite."""

    exit_status = 5


class CheckpointError(RlclError):
    """Raised when a checkpoint is damaged or belongs to another run."""


class BundleError(RlclError):
    """Raised when a bundle, or a file of its deployment, is damaged, missing or does not support the operation."""


class RunFolderError(RlclError):
    """Raised when a run folder cannot be read, written or locked."""


MAX_LISTED_NAMES = 24  # in one message


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the most similar names, or the list of allowed names.

    Args:
        word: the unknown name.
        allowed: the names that exist.

    Returns:
        ``"; did you mean lr?"`` if a similar name exists; else ``"; allowed: a, b"`` for at most
        ``MAX_LISTED_NAMES`` names; else ``""``.
    """
    names = sorted(allowed)
    similar = get_close_matches(word, names, n=3, cutoff=0.6)
    if not similar:
        folded = {name.casefold(): name for name in names}
        similar = [folded[key] for key in get_close_matches(word.casefold(), folded, n=3, cutoff=0.6)]
    if similar:
        return f"; did you mean {' or '.join(map(_quoted, similar))}?"
    return f"; allowed: {', '.join(map(_quoted, names))}" if 0 < len(names) <= MAX_LISTED_NAMES else ""


def _quoted(name: str) -> str:
    """Return a name, in quotes if it contains quotes or begins or ends with whitespace."""
    return repr(name) if name != name.strip() or {"'", '"'} & set(name) else name


def short_error(error: BaseException) -> str:
    """Return the first line of an error's message, preceded by its type unless the message is for the user alone."""
    text = str(error) if isinstance(error, RlclError) else f"{type(error).__name__}: {error}"
    return text.partition("\n")[0]
