"""Every error that is the user's to mend: one clear message, never a traceback."""

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
]


class RlclError(Exception):
    """A mistake or a circumstance that a person can mend; the message says how.

    The command line prints the message and leaves with ``exit_status``.
    """

    exit_status = 1


class Problem(ValueError):
    """One thing that is wrong with one value. ``where`` is its key path, added on the way up."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.where = where


class ConfigError(RlclError):
    """All problems of an experiment config, reported at once.

    Args:
        problems: one line each, ``file:line: key.path: what is wrong; the remedy``.
    """

    exit_status = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class DataError(RlclError):
    """Data that is missing, malformed or not finite."""


class SettingError(DataError):
    """A setting that the data or the environment which it is of do not know or allow."""

    exit_status = 2


class EnvironmentApiError(RlclError):
    """An environment that breaks the Gymnasium API."""


class UnsupportedError(RlclError):
    """Two components that do not go together, by name and reason."""

    exit_status = 2


class UnseenTaskError(RlclError):
    """A prediction that cannot be made yet, for a task that was not learned; evaluation leaves that cell out."""


class DivergenceError(RlclError):
    """A loss, a weight or a reward that is no longer finite."""

    exit_status = 5


class CheckpointError(RlclError):
    """A checkpoint that is damaged or belongs to another run."""


class BundleError(RlclError):
    """A bundle, or what lies beside it, that is damaged, missing or cannot do what is asked."""


class RunFolderError(RlclError):
    """A run folder that cannot be read, written or locked."""


FEW = 24  # names that a message may list


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """The remedy for an unknown name: the nearest one, or all that there are.

    Args:
        word: what was found.
        allowed: the names that exist.

    Returns:
        ``"; did you mean lr?"``, else ``"; allowed: a, b"`` where they are
        few, else ``""``.
    """
    names = sorted(allowed)
    near = get_close_matches(word, names, n=3, cutoff=0.6)
    if not near:
        folded = {name.casefold(): name for name in names}
        near = [folded[key] for key in get_close_matches(word.casefold(), folded, n=3, cutoff=0.6)]
    if near:
        return f"; did you mean {' or '.join(map(_plain, near))}?"
    return f"; allowed: {', '.join(map(_plain, names))}" if 0 < len(names) <= FEW else ""


def _plain(name: str) -> str:
    """A name as it is, in quotes where it holds some itself or begins or ends with a blank."""
    return repr(name) if name != name.strip() or {"'", '"'} & set(name) else name
