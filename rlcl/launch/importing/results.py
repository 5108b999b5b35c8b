"""Results of a run of another library, and the search for its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from attrs import frozen

from rlcl.errors import DataError, RlclError
from rlcl.types import Event

__all__ = ["Evaluation", "ForeignResults", "only_file", "raise_no_results"]


@frozen
class Evaluation:
    """A measured value.

    Args:
        step: step of the other library, at which the value was measured.
        trained_on: index of the last experience trained on; -1 before the first.
        evaluated_on: index of the evaluated experience.
        measure: name of rlcl's measure.
        value: the value.
    """

    step: int
    trained_on: int
    evaluated_on: int
    measure: str
    value: float


@frozen
class ForeignResults:
    """Results of one run of another library.

    Args:
        library: name of the library.
        evaluations: values in the order of the run.
        events: values logged during training.
        seconds: wall-clock time of the run; None if it is not known.
    """

    library: str
    evaluations: Sequence[Evaluation]
    events: Sequence[Event] = ()
    seconds: float | None = None


def only_file(folder: Path, name: str) -> Path | None:
    """Return the only file of a name in a folder and its subfolders; None if there is none.

    Raises:
        DataError: there are several.
    """
    found = sorted(folder.rglob(name))
    if len(found) > 1:
        names = ", ".join(str(path.parent) for path in found[:4]) + (", ..." if len(found) > 4 else "")
        raise DataError(f"{folder} contains the results of {len(found)} runs; name them one by one: {names}")
    return found[0] if found else None


def raise_no_results(folder: Path) -> NoReturn:
    """Raise the error for a folder that contains no results."""
    if not folder.is_dir():
        raise RlclError(f"{folder} is not a folder; name the folder with the results of one run")
    raise DataError(
        f"{folder} contains no results: expected evaluations.npz or monitor.csv (Stable-Baselines3), or "
        "eval_results.csv (CSVLogger of Avalanche)"
    )
