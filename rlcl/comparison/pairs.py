"""Every pair of learners: their difference, its interval, the test, and what more seeds would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

import attrs
import numpy as np
from attrs import define, field, frozen

from rlcl.comparison.scores import Scores
from rlcl.comparison.verdicts import ALL, Comparison
from rlcl.errors import UnsupportedError, did_you_mean
from rlcl.statistics.aggregates import AGGREGATES, Interval, bootstrap, difference, improvement_interval
from rlcl.statistics.hypotheses import (
    RANKS,
    Tested,
    bootstrapped,
    detectable,
    holm,
    ranked,
    seeds_needed,
    stratified_ranks,
    student,
)

__all__ = ["Settings", "compare", "scaled"]

IMPROVEMENTS = 5_000  # replications for the interval of a probability of improvement, by which no test decides
Array = np.ndarray[Any, Any]


@frozen(kw_only=True)
class Settings:
    """How learners are compared.

    Args:
        aggregate: over several streams, a key of AGGREGATES.
        confidence: of intervals; one minus it is the level of tests.
        test: ``t`` (Student's, Welch's) or ``ranks`` (Wilcoxon's, Mann and Whitney's).
        paired: whether to pair seeds where they match.
        baseline: the learner that all others are compared with; all pairs without one.
        replications: of a bootstrap.
        seed: of its draws.
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
        return 1 - self.confidence


def compare(
    scores: Scores, settings: Settings, scales: Mapping[str, tuple[float, float]] | None = None
) -> list[Comparison]:
    """Every pair of learners, over all streams first and then on each.

    Args:
        scores: at least one learner.
        settings: how.
        scales: low and high of each stream, which make 0 and 1; where there are none, values between 0 and 1 are
            taken as they are, and others are compared by their order alone.

    Raises:
        UnsupportedError: the baseline is no learner of these.
    """
    pairs = _pairs(scores.learners, settings.baseline)
    found: list[Comparison] = []
    learners, streams = scores.overall
    if len(streams) > 1:
        tables = {learner: scaled(scores, learner, scales) for learner in learners}
        draws = _Draws(tables, settings.aggregate if scales or scores.unit else "improvement", settings)
        whole = [(a, b) for a, b in pairs if a in tables and b in tables]
        overall = [_overall(scores, draws, a, b, len(whole)) for a, b in whole]
        found += _corrected(overall)
    alone = [(a, b, s) for s in scores.streams for a, b in pairs if scores.values(a, s) and scores.values(b, s)]
    return found + _corrected([_on_stream(scores, *each, len(alone), settings) for each in alone])


def scaled(scores: Scores, learner: str, scales: Mapping[str, tuple[float, float]] | None) -> Array:
    """(N, M): a learner's values on all common streams, on one scale where there is one; higher is better."""
    table = scores.table(learner)
    if not scales:
        return table
    ends = np.array([scales[stream] for stream in scores.common]) * scores.sign
    low, high = ends.min(1), ends.max(1)
    result: Array = (table - low) / (high - low)
    return result


def _pairs(learners: Sequence[str], baseline: str | None) -> list[tuple[str, str]]:
    if baseline is None:
        return list(combinations(learners, 2))
    if baseline not in learners:
        raise UnsupportedError(f"--baseline {baseline}: no such learner{did_you_mean(baseline, learners)}")
    return [(learner, baseline) for learner in learners if learner != baseline]


def partners(a: Mapping[int, float], b: Mapping[int, float], wanted: bool) -> list[int] | None:
    """Seeds that both have, to be paired; None where they are fewer than half of either's, or fewer than two."""
    both = sorted(a.keys() & b.keys())
    return both if wanted and len(both) >= 2 and 2 * len(both) >= max(len(a), len(b)) else None


def _on_stream(scores: Scores, a: str, b: str, stream: str, comparisons: int, settings: Settings) -> Comparison:
    one, two = ({k: scores.sign * v for k, v in scores.values(name, stream).items()} for name in (a, b))
    seeds = partners(one, two, settings.paired)
    if seeds:
        one, two = {k: one[k] for k in seeds}, {k: two[k] for k in seeds}
    x, y = np.array(list(one.values())), np.array(list(two.values()))
    if x.mean() < y.mean():
        a, b, x, y = b, a, y, x
    made = Comparison(
        stream=stream,
        metric=scores.metric(stream),
        first=a,
        second=b,
        statistic="mean",
        difference=float(x.mean() - y.mean()),
        low=float("nan"),
        high=float("nan"),
        improvement=_ends(_improvement(x[:, None], y[:, None], settings)),
        seeds=(len(x), len(y)),
        paired=seeds is not None,
        alpha=settings.alpha,
    )
    return made if min(made.seeds) < 2 else _tested(made, x, y, comparisons, settings)


def _tested(made: Comparison, x: Array, y: Array, comparisons: int, settings: Settings) -> Comparison:
    """With a test of the means."""
    ranks = settings.test == "ranks"
    test = (ranked if ranks else student)(x.tolist(), y.tolist(), paired=made.paired, confidence=settings.confidence)
    return _planned(made, test, comparisons, settings)


def _planned(made: Comparison, test: Tested, comparisons: int, settings: Settings) -> Comparison:
    """With the outcome of a test, and what more seeds would do."""
    level = settings.alpha / comparisons  # the strictest that Holm may ask for
    effect = (made.difference - made.null) / test.deviation if test.deviation else 0.0
    ranks = test.name in RANKS
    return attrs.evolve(
        made,
        low=test.low,
        high=test.high,
        test=test.name,
        p=test.p,
        needed=seeds_needed(effect, level, test.groups, ranks=ranks),
        detectable=made.null + detectable(test.deviation, min(made.seeds), level, test.groups),
    )


@define
class _Draws:
    """What is drawn of each learner over all streams; drawn once, however many pairs it is in.

    Args:
        tables: (N, M) of each learner.
        statistic: a key of AGGREGATES, or ``improvement``.
        settings: how.
    """

    tables: Mapping[str, Array]
    statistic: str
    settings: Settings
    _made: dict[tuple[str, int], Interval] = field(factory=dict, init=False)

    def difference(self, a: str, b: str, paired: bool) -> Interval:
        """By how much a learner is better: of an optimality gap, by how much lower."""
        if self.statistic == "optimality_gap":
            a, b = b, a
        return difference(self._of(a, 0), self._of(b, 0 if paired else 1), self.settings.confidence)

    def _of(self, learner: str, stream: int) -> Interval:
        """Draws of one generator go together, those of another do not."""
        if (learner, stream) not in self._made:
            self._made[learner, stream] = bootstrap(
                self.tables[learner],
                AGGREGATES[self.statistic],
                np.random.default_rng([self.settings.seed, stream]),
                replications=self.settings.replications,
                confidence=self.settings.confidence,
            )
        return self._made[learner, stream]


def _overall(scores: Scores, draws: _Draws, a: str, b: str, comparisons: int) -> Comparison:
    settings, tables = draws.settings, draws.tables
    ordinal = draws.statistic == "improvement"
    paired = settings.paired and not ordinal and scores.seeds(a) == scores.seeds(b)
    improvement = _improvement(tables[a], tables[b], settings)
    found = improvement if ordinal else draws.difference(a, b, paired)
    null = 0.5 if ordinal else 0.0
    if found.value < null:
        a, b, improvement, found = b, a, _mirrored(improvement, 1.0), _mirrored(found, 2 * null)
    made = Comparison(
        stream=ALL,
        metric=scores.metric(scores.common[0]),
        first=a,
        second=b,
        statistic=draws.statistic,
        difference=float(found.value),
        low=float(found.low),
        high=float(found.high),
        improvement=_ends(improvement),
        seeds=(len(tables[a]), len(tables[b])),
        paired=paired,
        alpha=settings.alpha,
    )
    if min(made.seeds) < 2:
        return made
    if ordinal:
        test = stratified_ranks(made.difference, made.seeds, len(scores.common), (made.low, made.high))
    else:
        parts, freedoms = _parts(tables[a], tables[b], paired)
        test = bootstrapped(found, parts, freedoms, min(made.seeds), settings.confidence)
        test = attrs.evolve(test, name=f"{'paired' if paired else 'unpaired'} {test.name}")
    return _planned(made, test, comparisons, settings)


def _parts(mine: Array, others: Array, paired: bool) -> tuple[Array, Array]:
    """Variances of the mean on each stream (of both learners, where not paired), and their degrees of freedom."""
    tables = [mine - others] if paired else [mine, others]
    parts = [table.var(0, ddof=1) / len(table) for table in tables]
    freedoms = [np.full(table.shape[1], len(table) - 1.0) for table in tables]
    return np.concatenate(parts), np.concatenate(freedoms)


def _improvement(mine: Array, others: Array, settings: Settings) -> Interval:
    rng, replications = np.random.default_rng(settings.seed), min(settings.replications, IMPROVEMENTS)
    return improvement_interval(mine, others, rng, replications=replications, confidence=settings.confidence)


def _ends(interval: Interval) -> tuple[float, float, float]:
    return float(interval.value), float(interval.low), float(interval.high)


def _mirrored(interval: Interval, total: float) -> Interval:
    """Of the other one over the first: ``total`` minus all of it."""
    return Interval(total - interval.value, total - interval.high, total - interval.low, total - interval.draws)


def _corrected(found: Sequence[Comparison]) -> list[Comparison]:
    """With Holm's correction over those that have a test."""
    tested = [each for each in found if each.p is not None]
    values = iter(holm([each.p for each in tested if each.p is not None]))
    return [
        each if each.p is None else attrs.evolve(each, corrected=next(values), comparisons=len(tested))
        for each in found
    ]
