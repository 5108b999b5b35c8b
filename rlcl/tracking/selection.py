"""Selection and sorting of runs by any metric, setting or field."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from attrs import frozen

from rlcl.errors import Problem
from rlcl.tracking.runs import FIELDS, StoredRun, check_key

__all__ = ["RunCondition", "select_runs", "sort_runs"]

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
class RunCondition:
    """A condition on runs: ``learner.type=ppo``, ``accuracy.average>0.9``, ``run=digits*``.

    Args:
        key: see :meth:`rlcl.tracking.runs.StoredRun.values`.
        comparison: one of ``= == != >= <= > <``.
        text: the value to compare with; for ``=`` and ``!=`` it may contain the wildcards ``*`` and ``?``.
    """

    key: str
    comparison: str
    text: str

    @classmethod
    def parse(cls, text: str) -> RunCondition:
        """Parse a condition.

        Raises:
            Problem: the text is not ``key=value``, or it compares a word by size.
        """
        match = re.fullmatch(r"\s*([^\s=!<>]+)\s*(>=|<=|!=|==|=|>|<)\s*(.+?)\s*", text)
        if match is None:
            raise Problem(f"--where: expected KEY=VALUE (or != >= <= > <), such as learner.type=ppo, got {text!r}")
        condition = cls(match[1], match[2], match[3])
        if condition.comparison[0] in "<>" and _number(condition.text) is None:
            raise Problem(f"--where {text}: {condition.comparison} requires a number, got {condition.text!r}")
        return condition

    def is_met(self, run: StoredRun) -> bool:
        """Return True if any of the run's values meets the condition (all of them for ``!=``)."""
        values = run.values(self.key)
        if self.comparison == "!=":
            return not any(self._equals(value) for value in values)
        return any(self._is_met_by(value) for value in values)

    def _is_met_by(self, value: Any) -> bool:
        if self.comparison in ("=", "=="):
            return self._equals(value)
        number = _number(value)
        return number is not None and COMPARISONS[self.comparison](number, _number(self.text))

    def _equals(self, value: Any) -> bool:
        number = _number(self.text)
        if number is not None and isinstance(value, int | float) and not isinstance(value, bool):
            return value == number
        return fnmatchcase(_plain(value), self.text)


def select_runs(runs: Sequence[StoredRun], conditions: Sequence[str]) -> tuple[StoredRun, ...]:
    """Return the runs that meet all conditions.

    Args:
        runs: the runs to select from.
        conditions: see :class:`RunCondition`.

    Raises:
        Problem: a condition is malformed.
        RunFolderError: no run has a key.
    """
    parsed = [RunCondition.parse(text) for text in conditions]
    for condition in parsed:
        check_key(condition.key, runs, "--where")
    return tuple(run for run in runs if all(condition.is_met(run) for condition in parsed))


def sort_runs(runs: Sequence[StoredRun], key: str, reverse: bool = False) -> tuple[StoredRun, ...]:
    """Sort runs by a value: a metric with its best value first, any other key ascending, numbers before words.

    Args:
        runs: the runs to sort.
        key: see :meth:`rlcl.tracking.runs.StoredRun.values`.
        reverse: reverse the order; runs without the key remain last.

    Raises:
        RunFolderError: no run has the key.
    """
    check_key(key, runs, "--sort")
    values = {id(run): run.values(key)[:1] for run in runs}
    with_value = [run for run in runs if values[id(run)] and values[id(run)] != [None]]
    with_value.sort(key=lambda run: _rank(values[id(run)][0]), reverse=reverse != _is_maximized(with_value, key))
    sorted_ids = {id(run) for run in with_value}
    return (*with_value, *(run for run in runs if id(run) not in sorted_ids))


def _is_maximized(runs: Sequence[StoredRun], key: str) -> bool:
    """Return True if a key is a metric whose higher values are better."""
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
    """Return a value as YAML text: ``true``, ``null``, words without quotes."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
