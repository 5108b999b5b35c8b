"""A comparison as tables: rows of plain values, for JSON and export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from attrs import field, frozen

from rlcl.comparison.pairs import Settings, compare, scaled
from rlcl.comparison.remarks import remarks
from rlcl.comparison.scores import Scores
from rlcl.comparison.verdicts import Comparison
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

__all__ = ["TABLES", "Report"]

THRESHOLDS = 101
MANY = 10  # pairs; of more only those with the best learner are shown
CURVES = 2_000  # replications of a bootstrap at each point

Row = dict[str, Any]
Scales = Mapping[str, tuple[float, float]]


@frozen(kw_only=True)
class Report:
    """All that is said of a comparison.

    Args:
        scores: what is compared.
        settings: how.
        scales: low and high of each stream; none where values are compared as they are.
    """

    scores: Scores
    settings: Settings
    scales: Scales = field(factory=dict)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Of all pairs, over all streams and on each."""
        return tuple(compare(self.scores, self.settings, self.scales))

    @property
    def on_one_scale(self) -> bool:
        """Whether values of several streams may be averaged."""
        return bool(self.scales) or self.scores.unit

    @property
    def span(self) -> Span:
        """The ends of the scale on which values of several streams are averaged."""
        return (0.0, 1.0) if self.scales else self.scores.span or (-np.inf, np.inf)

    @property
    def decisive(self) -> tuple[Comparison, ...]:
        """All comparisons; where they are many and no baseline was named, those of the best learner of each stream."""
        if len(self.comparisons) <= MANY or self.settings.baseline:
            return self.comparisons
        beaten = {(each.stream, each.second) for each in self.comparisons}
        return tuple(each for each in self.comparisons if (each.stream, each.first) not in beaten)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader should know beside the verdicts."""
        return (*self.scores.remarks, *remarks(self.scores, self.comparisons, self.on_one_scale))

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.settings.seed)


def learners(report: Report) -> list[Row]:
    """Each learner on each stream, best mean first: Student's interval, median, IQM with a bootstrap interval."""
    rows = []
    for stream in report.scores.streams:
        for learner in report.scores.learners:
            values = list(report.scores.values(learner, stream).values())
            if not values:
                continue
            found = summarize(values, report.settings.confidence)
            iqm = _bootstrapped(report, np.array(values)[:, None], interquartile_mean)
            rows.append(
                {
                    "stream": stream,
                    "learner": learner,
                    "metric": report.scores.metric(stream),
                    "seeds": found.seeds,
                    **_with_interval("mean", found.mean, found.low, found.high),
                    "median": float(np.median(values)),
                    **_with_interval("iqm", *iqm),
                    "least": min(values),
                    "greatest": max(values),
                }
            )
    place = {stream: number for number, stream in enumerate(report.scores.streams)}
    return sorted(rows, key=lambda row: (place[row["stream"]], -report.scores.sign * row["mean"]))


def aggregates(report: Report) -> list[Row]:
    """Each learner over all common streams, best IQM first; none with one stream, or without a common scale."""
    scores = report.scores
    if len(scores.common) < 2 or not report.on_one_scale:
        return []
    rows = []
    for learner in scores.overall[0]:
        table = scaled(scores, learner, report.scales)
        row: Row = {"learner": learner, "streams": table.shape[1], "seeds": table.shape[0]}
        for name, statistic in AGGREGATES.items():
            if name == "optimality_gap" and scores.sign < 0:  # the greatest is not the best there is
                continue
            gap = partial(optimality_gap, target=report.span[1]) if name == "optimality_gap" else statistic
            value, low, high = _bootstrapped(report, table, gap)
            # What is better the lower it is was turned around to be compared, and is told as it was measured.
            turned = scores.sign < 0 and not report.scales
            row |= _with_interval(name, -value, -high, -low) if turned else _with_interval(name, value, low, high)
        rows.append(row)
    descending = scores.sign > 0 or bool(report.scales)
    return sorted(rows, key=lambda row: row["iqm"], reverse=descending)


def comparisons(report: Report) -> list[Row]:
    """Each pair of learners, over all streams and on each, with a verdict in words."""
    return [
        {
            "stream": each.stream,
            "first": each.first,
            "second": each.second,
            "metric": each.metric,
            "statistic": each.statistic,
            **_with_interval("difference", each.difference, each.low, each.high),
            **_with_interval("improvement", *each.improvement),
            "seeds": min(each.seeds),
            "paired": each.paired,
            "test": each.test,
            "p": each.p,
            "corrected": each.corrected,
            "distinguishable": each.distinguishable,
            "seeds_needed": each.needed,
            "detectable": _known(each.detectable),
            "verdict": each.words,
        }
        for each in report.comparisons
    ]


def runs(report: Report) -> list[Row]:
    """Each run and its value, as it was measured."""
    return [
        {
            "stream": cell.stream,
            "learner": cell.learner,
            "seed": cell.seed,
            "metric": cell.metric,
            "value": cell.value,
            "path": str(cell.run.path),
        }
        for cell in report.scores.cells
    ]


def profiles(report: Report) -> list[Row]:
    """The share of runs above each threshold of the scale that all streams share, with bands."""
    scores = report.scores
    if not report.on_one_scale or not scores.common or scores.sign < 0:
        return []
    rows = []
    thresholds = np.linspace(*report.span, THRESHOLDS)
    for learner in scores.overall[0]:
        table = scaled(scores, learner, report.scales)
        found = profile_bands(table, thresholds, report.rng(), confidence=report.settings.confidence)
        points = zip(thresholds, found.value, found.low, found.high, strict=True)
        rows += [
            {"learner": learner, "threshold": float(threshold), **_with_interval("share", value, low, high)}
            for threshold, value, low, high in points
        ]
    return rows


def curves(report: Report) -> list[Row]:
    """The IQM over seeds of the mean over experiences, each time that all seeds were evaluated."""
    from rlcl.comparison.curves import curve

    rows = []
    for stream in report.scores.streams:
        for learner in report.scores.learners:
            cells = [cell for cell in report.scores.cells if (cell.learner, cell.stream) == (learner, stream)]
            steps, values = curve(cells)
            if not len(steps):
                continue
            found = sample_efficiency(
                values[:, :, None], report.rng(), replications=CURVES, confidence=report.settings.confidence
            )
            points = zip(steps, found.value, found.low, found.high, strict=True)
            rows += [
                {"stream": stream, "learner": learner, "step": float(step), **_with_interval("iqm", value, low, high)}
                for step, value, low, high in points
            ]
    return rows


TABLES: Mapping[str, Callable[[Report], list[Row]]] = {
    "learners": learners,
    "aggregates": aggregates,
    "comparisons": comparisons,
    "runs": runs,
    "profiles": profiles,
    "curves": curves,
}


def _bootstrapped(report: Report, table: Any, statistic: Any) -> tuple[float, float, float]:
    settings = report.settings
    found = bootstrap(
        table, statistic, report.rng(), replications=settings.replications, confidence=settings.confidence
    )
    return float(found.value), float(found.low), float(found.high)


def _with_interval(name: str, value: float, low: float, high: float) -> Row:
    return {name: float(value), f"{name}_low": _known(low), f"{name}_high": _known(high)}


def _known(value: float | None) -> float | None:
    """JSON has no NaN and no infinity."""
    return None if value is None or not np.isfinite(value) else float(value)
