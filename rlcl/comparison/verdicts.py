"""What a comparison of two learners came to, and a verdict in words."""

from __future__ import annotations

import math

from attrs import frozen

from rlcl.statistics.hypotheses import MOST_SEEDS

__all__ = ["ALL", "Comparison", "numbers", "p_words"]

ALL = "all streams"


@frozen(kw_only=True)
class Comparison:
    """Two learners on one stream, or on all of them; the first is the one that is ahead.

    Args:
        stream: or ALL.
        metric: what the difference is of.
        first, second: learners.
        statistic: ``mean``, or an aggregate over streams, or ``improvement`` where streams have no common scale.
        difference: of the statistic, by which the first is ahead, not negative; of ``improvement`` the
            probability itself.
        low, high: its interval; NaN with one seed.
        improvement: the probability that a run of the first is better than one of the second, and its interval.
        seeds: of the first and the second.
        paired: whether seeds went together.
        alpha: the level.
        test: its name; empty where there is none.
        p, corrected: two-sided, alone and with Holm's correction; None without a test.
        comparisons: how many are corrected for.
        needed: seeds of each with which a difference as large as this one would be found; None where they are
            more than MOST_SEEDS, or nothing can be said.
        detectable: the least difference that these seeds would find.
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
    corrected: float | None = None
    comparisons: int = 1
    needed: int | None = None
    detectable: float | None = None

    @property
    def distinguishable(self) -> bool:
        """Whether the corrected p is below the level."""
        return self.corrected is not None and self.corrected < self.alpha

    @property
    def null(self) -> float:
        """The value that stands for no difference."""
        return 0.5 if self.statistic == "improvement" else 0.0

    @property
    def more(self) -> int:
        """How many seeds are missing of those needed, where that is known."""
        return max(1, (self.needed or 0) - min(self.seeds))

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.corrected is None:
            return "no test"
        return "better" if self.distinguishable else "not distinguishable"

    @property
    def words(self) -> str:
        """The verdict, a sentence or two."""
        if self.corrected is None:
            return f"{self._ahead}; with one seed there is no test, and no saying which is better"
        if self.distinguishable:
            return f"{self.first} is better than {self.second} {self._by}; {self._evidence}"
        return f"{self.first} and {self.second} are not distinguishable with these {self._evidence}. {self._more}"

    @property
    def _by(self) -> str:
        if self.statistic == "improvement":
            return f"with a probability of {self._size}"
        what = {"mean": "mean", "iqm": "the IQM", "median": "the median", "optimality_gap": "the optimality gap"}
        return f"by {self._size} in {what[self.statistic]} {'of ' * (self.statistic != 'mean')}{self.metric}"

    @property
    def _size(self) -> str:
        value, low, high = numbers(self.difference, self.low, self.high)
        return f"{value} ({low} to {high})" if low else value

    @property
    def _ahead(self) -> str:
        if self.difference == self.null:
            return f"{self.first} and {self.second} are level in {self.metric}"
        return f"{self.first} is ahead of {self.second} {self._by}"

    @property
    def _evidence(self) -> str:
        a, b = self.seeds
        count = f"{a} seeds" if a == b else f"{a} and {b} seeds"
        over = f", corrected for {self.comparisons} comparisons" if self.comparisons > 1 else ""
        assert self.corrected is not None
        return f"{count} ({self.test}, {p_words(self.corrected)}{over})"

    @property
    def _more(self) -> str:
        """Which is ahead, how many more seeds would tell, and what these would have told."""
        if self.difference == self.null:
            return f"{self._ahead}: no number of seeds would tell them apart"
        if self.needed is None:
            seeds = f"more than {MOST_SEEDS:,} seeds would be needed to tell a difference as small as this one"
        else:
            seeds = f"about {self.more:,} more seed{'s' * (self.more > 1)} would tell a difference as large as this one"
        least = "" if not self._finite else f"; these seeds would tell one of {numbers(self.detectable or 0.0)[0]}"
        alone = (
            f"; alone it would count ({p_words(self.p)}), as one of {self.comparisons} comparisons it does not"
            if self.p is not None and self.p < self.alpha
            else ""
        )
        return f"{self._ahead}{alone}; {seeds}{least}"

    @property
    def _finite(self) -> bool:
        return self.detectable is not None and math.isfinite(self.detectable)


def numbers(*values: float) -> list[str]:
    """Numbers for people, with as many decimals as give the greatest three digits; NaN is empty."""
    greatest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    decimals = min(6, max(0, 2 - math.floor(math.log10(greatest)))) if greatest else 0
    return ["" if math.isnan(v) else f"{v + 0.0:,.{decimals}f}" for v in values]


def p_words(p: float) -> str:
    """``p = 0.012`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
