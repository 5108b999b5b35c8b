"""Comparison of two learners, with its verdict as a word and as a sentence."""

from __future__ import annotations

import math

from attrs import frozen

from rlcl.statistics.hypotheses import MAX_SEEDS

__all__ = ["ALL_STREAMS", "PairComparison", "format_numbers", "format_p"]

ALL_STREAMS = "all streams"


@frozen(kw_only=True)
class PairComparison:
    """Comparison of two learners on one stream or over all streams; the first learner has the better value.

    Args:
        stream: name of the stream, or ALL_STREAMS.
        metric: name of the metric.
        first, second: names of the learners.
        statistic: ``mean``, the name of an aggregate over streams, or ``improvement`` if the streams have no common
            scale.
        difference: amount by which the statistic of the first learner is better, not negative; for ``improvement`` the
            probability itself.
        low, high: ends of the interval of the difference; NaN with one seed.
        improvement: probability that a run of the first learner is better than a run of the second, with its interval.
        seeds: number of seeds of the first and of the second learner.
        paired: whether seeds were paired.
        alpha: level of the test.
        test: name of the test; empty without a test.
        p, corrected_p: two-sided p value without and with Holm's correction; None without a test.
        comparisons: number of comparisons in the correction.
        seeds_needed: number of seeds of each learner with which a difference of this size would be detected; None if
            it exceeds MAX_SEEDS or is unknown.
        detectable_difference: smallest difference that these numbers of seeds can detect.
    """

    stream: str
    metric: str
    first: str
    second: str
    statistic: str
    difference: float
    low: float
    high: float
    improvement: tuple[float, float, float]
    seeds: tuple[int, int]
    paired: bool
    alpha: float
    test: str = ""
    p: float | None = None
    corrected_p: float | None = None
    comparisons: int = 1
    seeds_needed: int | None = None
    detectable_difference: float | None = None

    @property
    def distinguishable(self) -> bool:
        """Whether the corrected p value is below the level."""
        return self.corrected_p is not None and self.corrected_p < self.alpha

    @property
    def null_value(self) -> float:
        """The value of the statistic under the null hypothesis."""
        return 0.5 if self.statistic == "improvement" else 0.0

    @property
    def additional_seeds(self) -> int:
        """Number of seeds to add for :attr:`seeds_needed`, if that number is known."""
        return max(1, (self.seeds_needed or 0) - min(self.seeds))

    @property
    def verdict(self) -> str:
        """The verdict in one or two words."""
        if self.corrected_p is None:
            return "no test"
        return "better" if self.distinguishable else "not distinguishable"

    @property
    def sentence(self) -> str:
        """The verdict in one or two sentences, without the final period."""
        if self.corrected_p is None:
            return f"{self._observed}; a test needs at least two seeds of each learner"
        if self.distinguishable:
            return f"{self.first} is better than {self.second} {self._amount}; {self._evidence}"
        return f"{self.first} and {self.second} are not distinguishable with these {self._evidence}. {self._outlook}"

    @property
    def _amount(self) -> str:
        if self.statistic == "improvement":
            return f"with a probability of {self._value_and_interval}"
        names = {"mean": "mean", "iqm": "the IQM", "median": "the median", "optimality_gap": "the optimality gap"}
        preposition = "of " * (self.statistic != "mean")
        return f"by {self._value_and_interval} in {names[self.statistic]} {preposition}{self.metric}"

    @property
    def _value_and_interval(self) -> str:
        value, low, high = format_numbers(self.difference, self.low, self.high)
        return f"{value} ({low} to {high})" if low else value

    @property
    def _observed(self) -> str:
        if self.difference == self.null_value:
            return f"{self.first} and {self.second} are equal in {self.metric}"
        return f"{self.first} is ahead of {self.second} {self._amount}"

    @property
    def _evidence(self) -> str:
        a, b = self.seeds
        count = f"{a} seeds" if a == b else f"{a} and {b} seeds"
        correction = f", corrected for {self.comparisons} comparisons" if self.comparisons > 1 else ""
        assert self.corrected_p is not None
        return f"{count} ({self.test}, {format_p(self.corrected_p)}{correction})"

    @property
    def _outlook(self) -> str:
        """The observed difference, the number of additional seeds that it needs, and the detectable difference."""
        if self.difference == self.null_value:
            return f"{self._observed}: no number of seeds would distinguish them"
        if self.seeds_needed is None:
            needed = f"more than {MAX_SEEDS:,} seeds would be needed to detect a difference of this size"
        else:
            plural = "s" * (self.additional_seeds > 1)
            needed = (
                f"about {self.additional_seeds:,} more seed{plural} would be needed to detect a difference of this size"
            )
        detectable = (
            f"; these seeds can detect a difference of {format_numbers(self.detectable_difference or 0.0)[0]}"
            if self._has_detectable_difference
            else ""
        )
        uncorrected = (
            f"; it is significant without the correction ({format_p(self.p)}), but not as one of {self.comparisons} "
            "comparisons"
            if self.p is not None and self.p < self.alpha
            else ""
        )
        return f"{self._observed}{uncorrected}; {needed}{detectable}"

    @property
    def _has_detectable_difference(self) -> bool:
        return self.detectable_difference is not None and math.isfinite(self.detectable_difference)


def format_numbers(*values: float) -> list[str]:
    """Return numbers as text, all with the decimals that give the largest one three digits; NaN is empty."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    decimals = min(6, max(0, 2 - math.floor(math.log10(largest)))) if largest else 0
    return ["" if math.isnan(v) else f"{v + 0.0:,.{decimals}f}" for v in values]


def format_p(p: float) -> str:
    """Return a p value as text: ``p = 0.012`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
