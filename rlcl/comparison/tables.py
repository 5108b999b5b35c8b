"""Tables of a comparison as rows of plain values, for JSON and export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from attrs import field, frozen

from rlcl.comparison.caveats import caveats
from rlcl.comparison.pairs import ComparisonSettings, compare_pairs, scaled_table
from rlcl.comparison.scores import Scores
from rlcl.comparison.verdicts import PairComparison
from rlcl.evaluation.metrics import Span
from rlcl.statistics.aggregates import (
    AGGREGATES,
    bootstrap,
    interquartile_mean,
    optimality_gap,
    profile_bands,
    sample_efficiency,
)
from rlcl.statistics.intervals import summarize

__all__ = ["TABLES", "ComparisonReport"]

THRESHOLDS = 101  # points of a performance profile
MAX_LISTED_PAIRS = 10  # of more pairs, only those with the best learner of each stream are shown
CURVE_REPLICATIONS = 2_000  # of the bootstrap at each point of a curve

Row = dict[str, Any]
Scales = Mapping[str, tuple[float, float]]


@frozen(kw_only=True)
class ComparisonReport:
    """A comparison of runs, from which all tables are computed.

    Args:
        scores: scores of the compared runs.
        settings: settings of the comparison.
        scales: values of each stream that count as 0 and 1; empty if values are compared as they are.
    """

    scores: Scores
    settings: ComparisonSettings
    scales: Scales = field(factory=dict)

    @cached_property
    def comparisons(self) -> tuple[PairComparison, ...]:
        """Comparisons of all pairs of learners, over all streams and on each stream."""
        return tuple(compare_pairs(self.scores, self.settings, self.scales))

    @property
    def on_common_scale(self) -> bool:
        """Whether values of several streams may be averaged."""
        return bool(self.scales) or self.scores.on_common_scale

    @property
    def span(self) -> Span:
        """The range of the scale on which values of several streams are averaged."""
        return (0.0, 1.0) if self.scales else self.scores.span or (-np.inf, np.inf)

    @property
    def main_comparisons(self) -> tuple[PairComparison, ...]:
        """All comparisons; if there are many and no baseline, only those of the best learner of each stream."""
        if len(self.comparisons) <= MAX_LISTED_PAIRS or self.settings.baseline:
            return self.comparisons
        behind = {(comparison.stream, comparison.second) for comparison in self.comparisons}
        return tuple(c for c in self.comparisons if (c.stream, c.first) not in behind)

    @property
    def caveats(self) -> tuple[str, ...]:
        """Limitations of the comparison that a reader should know in addition to the verdicts."""
        return (*self.scores.caveats, *caveats(self.scores, self.comparisons, self.on_common_scale))

    def rng(self) -> np.random.Generator:
        """Return a new generator with the seed of the settings."""
        return np.random.default_rng(self.settings.seed)


def learners(report: ComparisonReport) -> list[Row]:
    """Return one row per learner and stream, best mean first: mean, Student interval, median, IQM with its interval."""
    rows = []
    for stream in report.scores.streams:
        for learner in report.scores.learners:
            values = list(report.scores.values(learner, stream).values())
            if not values:
                continue
            summary = summarize(values, report.settings.confidence)
            iqm = _bootstrap_value_and_ends(report, np.array(values)[:, None], interquartile_mean)
            rows.append(
                {
                    "stream": stream,
                    "learner": learner,
                    "metric": report.scores.metric(stream),
                    "seeds": summary.seeds,
                    **_with_interval("mean", summary.mean, summary.low, summary.high),
                    "median": float(np.median(values)),
                    **_with_interval("iqm", *iqm),
                    "least": min(values),
                    "greatest": max(values),
                }
            )
    position = {stream: i for i, stream in enumerate(report.scores.streams)}
    return sorted(rows, key=lambda row: (position[row["stream"]], -report.scores.sign * row["mean"]))


def aggregates(report: ComparisonReport) -> list[Row]:
    """Return one row per learner over all common streams, best IQM first.

    There are no rows with a single stream or without a common scale.
    """
    scores = report.scores
    if len(scores.common_streams) < 2 or not report.on_common_scale:
        return []
    rows = []
    for learner in scores.overall[0]:
        table = scaled_table(scores, learner, report.scales)
        row: Row = {"learner": learner, "streams": table.shape[1], "seeds": table.shape[0]}
        for name, aggregate in AGGREGATES.items():
            if name == "optimality_gap" and scores.sign < 0:  # the upper end of the range is not the best value
                continue
            is_gap = name == "optimality_gap"
            statistic = partial(optimality_gap, target=report.span[1]) if is_gap else aggregate
            value, low, high = _bootstrap_value_and_ends(report, table, statistic)
            # Values of metrics that are better when lower were negated for the comparison; the table has the originals.
            negated = scores.sign < 0 and not report.scales
            row |= _with_interval(name, -value, -high, -low) if negated else _with_interval(name, value, low, high)
        rows.append(row)
    descending = scores.sign > 0 or bool(report.scales)
    return sorted(rows, key=lambda row: row["iqm"], reverse=descending)


def comparisons(report: ComparisonReport) -> list[Row]:
    """Return one row per pair of learners, over all streams and on each stream, with the verdict as a sentence."""
    return [
        {
            "stream": comparison.stream,
            "first": comparison.first,
            "second": comparison.second,
            "metric": comparison.metric,
            "statistic": comparison.statistic,
            **_with_interval("difference", comparison.difference, comparison.low, comparison.high),
            **_with_interval("improvement", *comparison.improvement),
            "seeds": min(comparison.seeds),
            "paired": comparison.paired,
            "test": comparison.test,
            "p": comparison.p,
            "corrected": comparison.corrected_p,
            "distinguishable": comparison.distinguishable,
            "seeds_needed": comparison.seeds_needed,
            "detectable": _finite_or_none(comparison.detectable_difference),
            "verdict": comparison.sentence,
        }
        for comparison in report.comparisons
    ]


def runs(report: ComparisonReport) -> list[Row]:
    """Return one row per run, with its value as measured."""
    return [
        {
            "stream": score.stream,
            "learner": score.learner,
            "seed": score.seed,
            "metric": score.metric,
            "value": score.value,
            "path": str(score.run.path),
        }
        for score in report.scores.run_scores
    ]


def profiles(report: ComparisonReport) -> list[Row]:
    """Return the fraction of runs above each threshold of the common scale, with confidence bands."""
    scores = report.scores
    if not report.on_common_scale or not scores.common_streams or scores.sign < 0:
        return []
    rows = []
    thresholds = np.linspace(*report.span, THRESHOLDS)
    for learner in scores.overall[0]:
        table = scaled_table(scores, learner, report.scales)
        shares = profile_bands(table, thresholds, report.rng(), confidence=report.settings.confidence)
        points = zip(thresholds, shares.value, shares.low, shares.high, strict=True)
        rows += [
            {"learner": learner, "threshold": float(threshold), **_with_interval("share", value, low, high)}
            for threshold, value, low, high in points
        ]
    return rows


def curves(report: ComparisonReport) -> list[Row]:
    """Return the IQM over seeds of the mean over experiences, at each evaluation that all seeds have."""
    from rlcl.comparison.curves import learning_curve

    rows = []
    for stream in report.scores.streams:
        for learner in report.scores.learners:
            run_scores = [s for s in report.scores.run_scores if (s.learner, s.stream) == (learner, stream)]
            steps, values = learning_curve(run_scores)
            if not len(steps):
                continue
            iqm = sample_efficiency(
                values[:, :, None],
                report.rng(),
                replications=CURVE_REPLICATIONS,
                confidence=report.settings.confidence,
            )
            points = zip(steps, iqm.value, iqm.low, iqm.high, strict=True)
            rows += [
                {"stream": stream, "learner": learner, "step": float(step), **_with_interval("iqm", value, low, high)}
                for step, value, low, high in points
            ]
    return rows


TABLES: Mapping[str, Callable[[ComparisonReport], list[Row]]] = {
    "learners": learners,
    "aggregates": aggregates,
    "comparisons": comparisons,
    "runs": runs,
    "profiles": profiles,
    "curves": curves,
}


def _bootstrap_value_and_ends(report: ComparisonReport, table: Any, statistic: Any) -> tuple[float, float, float]:
    settings = report.settings
    interval = bootstrap(
        table, statistic, report.rng(), replications=settings.replications, confidence=settings.confidence
    )
    return float(interval.value), float(interval.low), float(interval.high)


def _with_interval(name: str, value: float, low: float, high: float) -> Row:
    return {name: float(value), f"{name}_low": _finite_or_none(low), f"{name}_high": _finite_or_none(high)}


def _finite_or_none(value: float | None) -> float | None:
    """Return a finite value as a float, else None: JSON supports neither NaN nor infinity."""
    return None if value is None or not np.isfinite(value) else float(value)
