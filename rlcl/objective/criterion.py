"""Conditions of success and their parser."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from rlcl.errors import Problem
from rlcl.statistics.intervals import SeedSummary

__all__ = ["CRITERION", "FORMS", "Criterion"]

COMPARISONS = {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt}
DIGITS = r"\d[\d_]*"  # as YAML 1.1 reads them: 1_000_000 is a million
NUMBER = rf"[-+]?(?:{DIGITS}\.?(?:{DIGITS})?|\.{DIGITS})(?:[eE][-+]?\d+)?"
# == has no interval form: neither bound of an interval is the worse one.
CRITERION = (
    r"\s*([A-Za-z_]\w*(?:\.\w+)*)(?:\[(\d+|each)\])?\s*(?!==.*interval)(>=|<=|==|>|<)"
    rf"\s*({NUMBER})\s*(\(interval\))?\s*"
)
FORMS = "a comparison such as accuracy.average >= 0.85 or accuracy[2] >= 0.8 (interval)"


@frozen
class Criterion:
    """One condition of success: ``accuracy.average >= 0.85``, ``accuracy[2] >= 0.8 (interval)``.

    Args:
        metric: name of a metric; name of a measure if ``experience`` is set.
        comparison: ``>=``, ``<=``, ``==``, ``>`` or ``<``.
        number: the value to compare with.
        experience: index from 0 of the experience whose final performance is compared; ``each`` for the experience
            that is farthest from meeting the condition; None for a metric.
        interval: compare the worse bound of the interval over seeds instead of the mean.
    """

    metric: str
    comparison: str
    number: float
    experience: int | Literal["each"] | None = None
    interval: bool = False

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """Parse a condition.

        Raises:
            Problem: the text is not ``metric comparison number``, or one of the longer forms.
        """
        match = re.fullmatch(CRITERION, text)
        if match is None:
            raise Problem(f"expected {FORMS}, got {text!r}")
        metric, index, comparison, number, interval = match.groups()
        experience: int | Literal["each"] | None = None
        if index:
            experience = "each" if index == "each" else int(index)
        return cls(metric, comparison, float(number.replace("_", "")), experience, interval is not None)

    def is_met(self, value: float) -> bool:
        """Return True if a value meets the condition."""
        return bool(COMPARISONS[self.comparison](value, self.number))

    def worst(self, values: Sequence[float]) -> float:
        """Return the value that is farthest from meeting the condition."""
        sign = -1 if self.comparison in (">=", ">") else 1
        return max(values, key=lambda v: abs(v - self.number) if self.comparison == "==" else sign * v)

    def judged_value(self, summary: SeedSummary) -> float:
        """Return the mean over seeds, or the worse bound of the interval; NaN for the interval of a single seed."""
        if not self.interval:
            return summary.mean
        return summary.low if self.comparison in (">=", ">") else summary.high

    @property
    def subject(self) -> str:
        """The compared quantity: ``accuracy.average``, ``accuracy[2]``."""
        return self.metric if self.experience is None else f"{self.metric}[{self.experience}]"

    def __str__(self) -> str:
        return f"{self.subject} {self.comparison} {self.number:.15g}{' (interval)' if self.interval else ''}"
