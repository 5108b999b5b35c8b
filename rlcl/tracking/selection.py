"""Which runs are listed, and in which order: conditions and sorting by any metric, setting or field."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from attrs import frozen

from rlcl.errors import Problem
from rlcl.tracking.runs import FIELDS, Run, check_known

__all__ = ["Condition", "ordered", "selected"]

Comparison = Callable[[Any, Any], bool]
COMPARISONS: Mapping[str, Comparison] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


@frozen
class Condition:
    """One condition on runs: ``learner.type=ppo``, ``accuracy.average>0.9``, ``run=digits*``.

    Args:
        key: see :meth:`rlcl.tracking.runs.Run.values`.
        comparison: one of ``= == != >= <= > <``.
        text: what a value is compared with; with ``=`` and ``!=``, ``*`` and ``?`` match.
    """

    key: str
    comparison: str
    text: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """
        Raises:
            Problem: the text is no ``key=value``, or compares a word by size.
        """
        match = re.fullmatch(r"\s*([^\s=!<>]+)\s*(>=|<=|!=|==|=|>|<)\s*(.+?)\s*", text)
        if match is None:
            raise Problem(f"--where: expected KEY=VALUE (or != >= <= > <), such as learner.type=ppo, got {text!r}")
        made = cls(match[1], match[2], match[3])
        if made.comparison[0] in "<>" and _number(made.text) is None:
            raise Problem(f"--where {text}: {made.comparison} compares numbers, and {made.text!r} is none")
        return made

    def met(self, run: Run) -> bool:
        """Whether any of the run's values satisfies it (all of them with ``!=``)."""
        values = run.values(self.key)
        if self.comparison == "!=":
            return not any(self._equal(value) for value in values)
        return any(self._holds(value) for value in values)

    def _holds(self, value: Any) -> bool:
        if self.comparison in ("=", "=="):
            return self._equal(value)
        number = _number(value)
        return number is not None and COMPARISONS[self.comparison](number, _number(self.text))

    def _equal(self, value: Any) -> bool:
        number = _number(self.text)
        if number is not None and isinstance(value, int | float) and not isinstance(value, bool):
            return value == number
        return fnmatchcase(_plain(value), self.text)


def selected(runs: Sequence[Run], conditions: Sequence[str]) -> tuple[Run, ...]:
    """The runs that meet all conditions.

    Args:
        runs: all of them.
        conditions: see :class:`Condition`.

    Raises:
        Problem: a condition that cannot be read.
        RunFolderError: a key that no run has.
    """
    parsed = [Condition.parse(text) for text in conditions]
    for condition in parsed:
        check_known(condition.key, runs, "--where")
    return tuple(run for run in runs if all(condition.met(run) for condition in parsed))


def ordered(runs: Sequence[Run], key: str, reverse: bool = False) -> tuple[Run, ...]:
    """The runs by a value: a metric's best first, anything else ascending, numbers before words.

    Args:
        runs: in any order.
        key: see :meth:`rlcl.tracking.runs.Run.values`.
        reverse: the other way around; runs without the key stay last.

    Raises:
        RunFolderError: no run has the key.
    """
    check_known(key, runs, "--sort")
    values = {id(run): run.values(key)[:1] for run in runs}
    known = [run for run in runs if values[id(run)] and values[id(run)] != [None]]
    known.sort(key=lambda run: _rank(values[id(run)][0]), reverse=reverse != _best_is_greatest(known, key))
    kept = {id(run) for run in known}
    return (*known, *(run for run in runs if id(run) not in kept))


def _best_is_greatest(runs: Sequence[Run], key: str) -> bool:
    """Whether a key is a metric of which higher values are better."""
    measured = next((run for run in runs if key in run.metrics), None)
    meaning = None if measured is None or key in FIELDS else measured.meaning(key)
    return meaning is not None and meaning.better == "higher"


def _rank(value: Any) -> tuple[int, float, str]:
    number = value if isinstance(value, int | float) else None
    return (1, 0.0, _plain(value)) if number is None else (0, float(number), "")


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        return None


def _plain(value: Any) -> str:
    """As YAML writes it: ``true``, ``null``, words as they are."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
