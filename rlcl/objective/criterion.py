"""One condition of success, as a person writes it."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from rlcl.errors import Problem
from rlcl.statistics.intervals import Summary

__all__ = ["CRITERION", "FORMS", "Criterion"]

COMPARISONS = {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt}
DIGITS = r"\d[\d_]*"  # as YAML 1.1 reads them: 1_000_000 is a million
NUMBER = rf"[-+]?(?:{DIGITS}\.?(?:{DIGITS})?|\.{DIGITS})(?:[eE][-+]?\d+)?"
# An interval has no one end that == could be judged by.
CRITERION = (
    r"\s*([A-Za-z_]\w*(?:\.\w+)*)(?:\[(\d+|each)\])?\s*(?!==.*interval)(>=|<=|==|>|<)"
    rf"\s*({NUMBER})\s*(\(interval\))?\s*"
)
FORMS = "a comparison such as accuracy.average >= 0.85 or accuracy[2] >= 0.8 (interval)"


@frozen
class Criterion:
    """One condition of success: ``accuracy.average >= 0.85``, ``accuracy[2] >= 0.8 (interval)``.

    Args:
        metric: name of a metric; of a measure, where an experience is given.
        comparison: ``>=``, ``<=``, ``==``, ``>`` or ``<``.
        number: what its value is compared with.
        experience: the one at whose performance it looks, after all training, counted from 0; ``each``
            for the one that is farthest from meeting it; None for a metric.
        interval: whether the interval over seeds is judged by its worse end, not the mean.
    """

    metric: str
    comparison: str
    number: float
    experience: int | Literal["each"] | None = None
    interval: bool = False

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """
        Raises:
            Problem: the text is not ``metric comparison number``, or one of the longer forms.
        """
        match = re.fullmatch(CRITERION, text)
        if match is None:
            raise Problem(f"expected {FORMS}, got {text!r}")
        metric, place, comparison, number, interval = match.groups()
        experience: int | Literal["each"] | None = None
        if place:
            experience = "each" if place == "each" else int(place)
        return cls(metric, comparison, float(number.replace("_", "")), experience, interval is not None)

    def met(self, value: float) -> bool:
        """Whether a value satisfies it."""
        return bool(COMPARISONS[self.comparison](value, self.number))

    def worst(self, values: Sequence[float]) -> float:
        """The value that is farthest from satisfying it."""
        sign = -1 if self.comparison in (">=", ">") else 1
        return max(values, key=lambda v: abs(v - self.number) if self.comparison == "==" else sign * v)

    def judged_by(self, summary: Summary) -> float:
        """The mean over seeds, or the interval's worse end; NaN where a single seed has none."""
        if not self.interval:
            return summary.mean
        return summary.low if self.comparison in (">=", ">") else summary.high

    @property
    def subject(self) -> str:
        """What is compared: ``accuracy.average``, ``accuracy[2]``."""
        return self.metric if self.experience is None else f"{self.metric}[{self.experience}]"

    def __str__(self) -> str:
        return f"{self.subject} {self.comparison} {self.number:.15g}{' (interval)' if self.interval else ''}"
