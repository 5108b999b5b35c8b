"""Comparison of every pair of learners: difference, interval, test, and the effect of more seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

import attrs
import numpy as np
from attrs import define, field, frozen

from rlcl.comparison.scores import Scores
from rlcl.comparison.verdicts import ALL_STREAMS, PairComparison
from rlcl.errors import UnsupportedError, did_you_mean
from rlcl.statistics.aggregates import AGGREGATES, BootstrapInterval, bootstrap, difference, improvement_interval
from rlcl.statistics.hypotheses import (
    RANK_TESTS,
    HypothesisTest,
    bootstrap_test,
    detectable_difference,
    holm_correction,
    rank_test,
    seeds_needed,
    stratified_rank_test,
    t_test,
)

__all__ = ["ComparisonSettings", "compare_pairs", "scaled_table"]

IMPROVEMENT_REPLICATIONS = 5_000  # for the interval of a probability of improvement, which no test uses
Array = np.ndarray[Any, Any]


@frozen(kw_only=True)
class ComparisonSettings:
    """Settings of a comparison.

    Args:
        aggregate: aggregate over several streams, a key of AGGREGATES.
        confidence: confidence level of intervals; one minus it is the level of tests.
        test: ``t`` (Student's test for paired seeds, otherwise Welch's) or ``ranks`` (Wilcoxon's test for paired seeds,
            otherwise Mann-Whitney's).
        paired: whether to pair equal seeds.
        baseline: learner with which all others are compared; None compares all pairs.
        replications: number of bootstrap replications.
        seed: seed of the bootstrap.
    """

    aggregate: str = "iqm"
    confidence: float = 0.95
    test: Literal["t", "ranks"] = "t"
    paired: bool = True
    baseline: str | None = None
    replications: int = 50_000
    seed: int = 0

    @property
    def alpha(self) -> float:
        """Level of the tests."""
        return 1 - self.confidence


def compare_pairs(
    scores: Scores, settings: ComparisonSettings, scales: Mapping[str, tuple[float, float]] | None = None
) -> list[PairComparison]:
    """Compare every pair of learners, first over all streams and then on each stream.

    Args:
        scores: scores of at least one learner.
        settings: settings of the comparison.
        scales: values of each stream that count as 0 and 1. Without scales, values of the same known range are used
            as they are, and other values are compared by their order only.

    Raises:
        UnsupportedError: there is no learner with the name of the baseline.
    """
    pairs = _learner_pairs(scores.learners, settings.baseline)
    comparisons: list[PairComparison] = []
    learners, streams = scores.overall
    if len(streams) > 1:
        tables = {learner: scaled_table(scores, learner, scales) for learner in learners}
        statistic = settings.aggregate if scales or scores.on_common_scale else "improvement"
        bootstraps = _BootstrapCache(tables, statistic, settings)
        overall_pairs = [(a, b) for a, b in pairs if a in tables and b in tables]
        overall = [_compare_overall(scores, bootstraps, a, b, len(overall_pairs)) for a, b in overall_pairs]
        comparisons += _corrected(overall)
    on_streams = [(a, b, s) for s in scores.streams for a, b in pairs if scores.values(a, s) and scores.values(b, s)]
    return comparisons + _corrected(
        [_compare_on_stream(scores, *names, len(on_streams), settings) for names in on_streams]
    )


def scaled_table(scores: Scores, learner: str, scales: Mapping[str, tuple[float, float]] | None) -> Array:
    """Return (N, M) values of a learner on all common streams, where higher is better; on a common scale if given."""
    table = scores.table(learner)
    if not scales:
        return table
    ends = np.array([scales[stream] for stream in scores.common_streams]) * scores.sign
    low, high = ends.min(1), ends.max(1)
    result: Array = (table - low) / (high - low)
    return result


def _learner_pairs(learners: Sequence[str], baseline: str | None) -> list[tuple[str, str]]:
    if baseline is None:
        return list(combinations(learners, 2))
    if baseline not in learners:
        raise UnsupportedError(f"--baseline {baseline}: no such learner{did_you_mean(baseline, learners)}")
    return [(learner, baseline) for learner in learners if learner != baseline]


def paired_seeds(a: Mapping[int, float], b: Mapping[int, float], paired: bool) -> list[int] | None:
    """Return the common seeds for pairing.

    The result is None if ``paired`` is False, or if the common seeds are fewer than two or fewer than half of the seeds
    of either learner.
    """
    common = sorted(a.keys() & b.keys())
    return common if paired and len(common) >= 2 and 2 * len(common) >= max(len(a), len(b)) else None


def _compare_on_stream(
    scores: Scores, a: str, b: str, stream: str, comparisons: int, settings: ComparisonSettings
) -> PairComparison:
    one, two = ({k: scores.sign * v for k, v in scores.values(name, stream).items()} for name in (a, b))
    seeds = paired_seeds(one, two, settings.paired)
    if seeds:
        one, two = {k: one[k] for k in seeds}, {k: two[k] for k in seeds}
    x, y = np.array(list(one.values())), np.array(list(two.values()))
    if x.mean() < y.mean():
        a, b, x, y = b, a, y, x
    untested = PairComparison(
        stream=stream,
        metric=scores.metric(stream),
        first=a,
        second=b,
        statistic="mean",
        difference=float(x.mean() - y.mean()),
        low=float("nan"),
        high=float("nan"),
        improvement=_value_and_ends(_improvement(x[:, None], y[:, None], settings)),
        seeds=(len(x), len(y)),
        paired=seeds is not None,
        alpha=settings.alpha,
    )
    return untested if min(untested.seeds) < 2 else _with_mean_test(untested, x, y, comparisons, settings)


def _with_mean_test(
    comparison: PairComparison, x: Array, y: Array, comparisons: int, settings: ComparisonSettings
) -> PairComparison:
    """Return the comparison with the result of a test of the means."""
    run_test = rank_test if settings.test == "ranks" else t_test
    test = run_test(x.tolist(), y.tolist(), paired=comparison.paired, confidence=settings.confidence)
    return _with_test(comparison, test, comparisons, settings)


def _with_test(
    comparison: PairComparison, test: HypothesisTest, comparisons: int, settings: ComparisonSettings
) -> PairComparison:
    """Return the comparison with the result of a test, the number of seeds needed and the detectable difference."""
    level = settings.alpha / comparisons  # the strictest level of Holm's correction
    effect = (comparison.difference - comparison.null_value) / test.deviation if test.deviation else 0.0
    ranks = test.name in RANK_TESTS
    detectable = detectable_difference(test.deviation, min(comparison.seeds), level, test.freedom_per_seed)
    return attrs.evolve(
        comparison,
        low=test.low,
        high=test.high,
        test=test.name,
        p=test.p,
        seeds_needed=seeds_needed(effect, level, test.freedom_per_seed, ranks=ranks),
        detectable_difference=comparison.null_value + detectable,
    )


@define
class _BootstrapCache:
    """Bootstrap of each learner over all streams, computed once for all pairs with the learner.

    Args:
        tables: (N, M) values of each learner.
        statistic: a key of AGGREGATES, or ``improvement``.
        settings: settings of the comparison.
    """

    tables: Mapping[str, Array]
    statistic: str
    settings: ComparisonSettings
    _intervals: dict[tuple[str, int], BootstrapInterval] = field(factory=dict, init=False)

    def difference(self, a: str, b: str, paired: bool) -> BootstrapInterval:
        """Return the amount by which learner ``a`` is better; for the optimality gap, by which it is lower."""
        if self.statistic == "optimality_gap":
            a, b = b, a
        return difference(self._interval(a, 0), self._interval(b, 0 if paired else 1), self.settings.confidence)

    def _interval(self, learner: str, generator: int) -> BootstrapInterval:
        """Return the bootstrap of a learner; results of the same generator are paired."""
        if (learner, generator) not in self._intervals:
            self._intervals[learner, generator] = bootstrap(
                self.tables[learner],
                AGGREGATES[self.statistic],
                np.random.default_rng([self.settings.seed, generator]),
                replications=self.settings.replications,
                confidence=self.settings.confidence,
            )
        return self._intervals[learner, generator]


def _compare_overall(scores: Scores, bootstraps: _BootstrapCache, a: str, b: str, comparisons: int) -> PairComparison:
    settings, tables = bootstraps.settings, bootstraps.tables
    ordinal = bootstraps.statistic == "improvement"
    paired = settings.paired and not ordinal and scores.seeds(a) == scores.seeds(b)
    improvement = _improvement(tables[a], tables[b], settings)
    estimate = improvement if ordinal else bootstraps.difference(a, b, paired)
    null_value = 0.5 if ordinal else 0.0
    if estimate.value < null_value:
        a, b, improvement, estimate = b, a, _mirrored(improvement, 1.0), _mirrored(estimate, 2 * null_value)
    comparison = PairComparison(
        stream=ALL_STREAMS,
        metric=scores.metric(scores.common_streams[0]),
        first=a,
        second=b,
        statistic=bootstraps.statistic,
        difference=float(estimate.value),
        low=float(estimate.low),
        high=float(estimate.high),
        improvement=_value_and_ends(improvement),
        seeds=(len(tables[a]), len(tables[b])),
        paired=paired,
        alpha=settings.alpha,
    )
    if min(comparison.seeds) < 2:
        return comparison
    if ordinal:
        ends = (comparison.low, comparison.high)
        test = stratified_rank_test(comparison.difference, comparison.seeds, len(scores.common_streams), ends)
    else:
        variances, freedoms = _stream_variances(tables[a], tables[b], paired)
        test = bootstrap_test(estimate, variances, freedoms, min(comparison.seeds), settings.confidence)
        test = attrs.evolve(test, name=f"{'paired' if paired else 'unpaired'} {test.name}")
    return _with_test(comparison, test, comparisons, settings)


def _stream_variances(mine: Array, others: Array, paired: bool) -> tuple[Array, Array]:
    """Return the variances of the mean on each stream and their degrees of freedom.

    If paired, these are variances of mean differences; otherwise, of the means of both learners.
    """
    tables = [mine - others] if paired else [mine, others]
    variances = [table.var(0, ddof=1) / len(table) for table in tables]
    freedoms = [np.full(table.shape[1], len(table) - 1.0) for table in tables]
    return np.concatenate(variances), np.concatenate(freedoms)


def _improvement(mine: Array, others: Array, settings: ComparisonSettings) -> BootstrapInterval:
    rng, replications = np.random.default_rng(settings.seed), min(settings.replications, IMPROVEMENT_REPLICATIONS)
    return improvement_interval(mine, others, rng, replications=replications, confidence=settings.confidence)


def _value_and_ends(interval: BootstrapInterval) -> tuple[float, float, float]:
    return float(interval.value), float(interval.low), float(interval.high)


def _mirrored(interval: BootstrapInterval, total: float) -> BootstrapInterval:
    """Return the interval with both learners exchanged: ``total`` minus all values."""
    return BootstrapInterval(
        total - interval.value, total - interval.high, total - interval.low, total - interval.replicates
    )


def _corrected(comparisons: Sequence[PairComparison]) -> list[PairComparison]:
    """Return the comparisons with Holm's correction over those that have a test."""
    tested = [c for c in comparisons if c.p is not None]
    corrected = iter(holm_correction([c.p for c in tested if c.p is not None]))
    return [
        c if c.p is None else attrs.evolve(c, corrected_p=next(corrected), comparisons=len(tested)) for c in comparisons
    ]
