"""Metrics as objects: a function of the results of a run, with its direction, range and scope."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from attrs import field, frozen

if TYPE_CHECKING:  # so that commands that list and compare runs do not import torch
    from rlcl.evaluation.measures import Measure
    from rlcl.evaluation.results import Results
    from rlcl.statistics.intervals import SeedSummary

__all__ = [
    "PERFORMANCE",
    "TOPICS",
    "Better",
    "Metric",
    "Pooling",
    "Span",
    "Topic",
    "Undefined",
    "check_span",
    "sign_of",
]

Array = np.ndarray[Any, Any]
Better = Literal["higher", "lower"]
Span = tuple[float, float]
Topic = Literal["performance", "forgetting", "transfer"]

PERFORMANCE: Topic = "performance"
TOPICS: tuple[Topic, ...] = ("forgetting", "transfer")  # all topics other than performance
UNKNOWN: Span = (-math.inf, math.inf)
NAME = r"[A-Za-z_]\w*(\.\w+)*"  # names that a success criterion can refer to
BOOTSTRAP_SAMPLES = 4000
NOT_EVALUATED = "no entry of R that it needs was evaluated; see evaluation.every, on and before"


class Undefined(ValueError):
    """Raised by the function of a metric that is not defined for a run, with the reason."""


def sign_of(better: Better) -> int:
    """Return 1 if higher values are better, -1 if lower values are better."""
    return 1 if better == "higher" else -1


def check_span(span: Span) -> None:
    """Check that a range is two numbers, the lower one first.

    Raises:
        ValueError: the range is not valid.
    """
    if len(span) != 2 or not span[0] < span[1]:
        raise ValueError(f"range: expected (low, high) with low < high, got {span!r}")


@frozen
class Pooling:
    """Computation of a metric from the results of several seeds.

    Args:
        statistics: function from the results of one seed to arrays.
        combine: function from these arrays, each with the seeds as its first axis, to the value of the metric.
    """

    statistics: Callable[[Results], tuple[Array, ...]]
    combine: Callable[..., float]

    def summary(self, seeds: Sequence[Results]) -> SeedSummary:
        """Return the value with its 95 % bootstrap interval.

        Each of the arrays is resampled over seeds separately, with 4,000 samples, since a statistic of baseline runs
        is independent of that of the runs.

        Raises:
            Undefined: the metric is not defined for a seed, or for all seeds together.

        Source: Efron 1979, Bootstrap methods: another look at the jackknife (percentile interval).
        """
        from rlcl.statistics.intervals import SeedSummary

        arrays = [np.stack(values) for values in zip(*map(self.statistics, seeds), strict=True)]
        value, count = self.combine(*arrays), len(seeds)
        if count < 2:
            return SeedSummary(value, math.nan, math.nan, count)
        rng, samples = np.random.default_rng(0), []
        for _ in range(BOOTSTRAP_SAMPLES):
            resampled = [array[rng.integers(count, size=count)] for array in arrays]
            try:
                samples.append(self.combine(*resampled))
            except Undefined:  # a sample of seeds for which a ratio has no value
                samples.append(math.nan)
        low, high = np.nanquantile(samples, (0.025, 0.975)) if np.isfinite(samples).any() else (math.nan, math.nan)
        return SeedSummary(value, float(low), float(high), count)


@frozen
class Metric:
    """A number that summarizes a run, computed from its records.

    Args:
        name: name in reports; with scope ``measure`` it is prefixed with the name of the measure.
        function: function from :class:`rlcl.evaluation.results.Results` to the value, or to None if the metric is not
            defined for the run. It may raise :class:`Undefined` with the reason instead.
        better: ``higher`` or ``lower`` values.
        range: range of the values; ``performance`` for the range of R, ``change`` for the range of a difference of two
            values of R. Unknown by default.
        scope: ``measure`` for a statistic of each measure (``accuracy.average``, ``return.average``); ``run`` for a
            number that is computed from the first measure and reported without a prefix; ``training`` for a number
            that does not depend on a measure.
        topic: heading under which it is reported.
        within: whether evaluations within experiences change it, so that ``evaluation.every`` must be the same in
            a comparison.
        default: whether it is computed if ``evaluation.metrics`` is empty.
        pooling: computation from the results of all seeds, for a metric that is not a mean over seeds. Such a metric is
            reported for an experiment only, not for a run; ``function`` computes it for a single seed.

    Raises:
        ValueError: ``name``, ``better``, ``range``, ``scope`` or ``topic`` is not valid.
    """

    name: str
    function: Callable[[Results], float | None]
    better: Better = field(default="higher", kw_only=True)
    range: Span | Literal["performance", "change"] = field(default=UNKNOWN, kw_only=True)
    scope: Literal["measure", "run", "training"] = field(default="run", kw_only=True)
    topic: Topic = field(default="performance", kw_only=True)
    within: bool = field(default=False, kw_only=True)
    default: bool = field(default=True, kw_only=True)
    pooling: Pooling | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise ValueError(f"name: expected words joined by dots, such as forgetting.custom, got {self.name!r}")
        for key, allowed in (("better", ("higher", "lower")), ("scope", ("measure", "run", "training")),
                             ("topic", ("performance", "forgetting", "transfer"))):  # fmt: skip
            value = {"better": self.better, "scope": self.scope, "topic": self.topic}[key]
            if value not in allowed:
                raise ValueError(f"{key}: expected {' or '.join(allowed)}, got {value!r}")
        if self.range not in ("performance", "change"):
            check_span(self.range)  # type: ignore[arg-type]

    def __call__(self, results: Results) -> float | None:
        try:
            return self.function(results)
        except Undefined:
            return None

    def undefined(self, results: Results) -> str | None:
        """Return the reason why the metric is not defined for a run; None if it is."""
        try:
            value: Any = self.function(results)
        except Undefined as reason:
            return str(reason)
        if value is None:
            return "its function returned None"
        return f"its value is {value}" if isinstance(value, float) and not math.isfinite(value) else None

    def span(self, measure: Measure) -> Span:
        """Return the range of the metric for a measure; an unknown bound is infinite."""
        low, high = measure.range if measure.better == "higher" else (0.0 - measure.range[1], 0.0 - measure.range[0])
        if self.range == "performance":
            return low, high
        if self.range == "change":
            return low - high, high - low
        return self.range
