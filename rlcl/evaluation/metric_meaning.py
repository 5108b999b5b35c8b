"""Meaning of the metrics of a run, as stored in its ``summary.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from attrs import frozen

from rlcl.evaluation.metrics import AVERAGE, UNKNOWN, Better, Metric, Span, Topic, sign_of

if TYPE_CHECKING:
    from rlcl.evaluation.measures import Measure

__all__ = ["MetricMeaning", "main_metric", "meanings_in"]


@frozen(kw_only=True)
class MetricMeaning:
    """Meaning of a reported metric in one run, stored in ``summary.json`` so that a comparison needs no other file.

    Args:
        metric: name of the metric, without the name of the measure.
        measure: registry name or reference of the measure that it is computed from.
        better: ``higher`` or ``lower`` values.
        range: range of the values; an unknown bound is infinite.
        topic, within: see :class:`Metric`.
    """

    metric: str
    measure: str
    better: Better = "higher"
    range: Span = UNKNOWN
    topic: Topic = "performance"
    within: bool = False

    @classmethod
    def of(cls, metric: Metric, reference: str, measure: Measure) -> Self:
        """Return the meaning of a metric for a measure.

        Args:
            metric: the reported metric.
            reference: registry name or reference of the measure.
            measure: the measure.
        """
        return cls(
            metric=metric.name,
            measure=reference,
            better=metric.better,
            range=metric.span(measure),
            topic=metric.topic,
            within=metric.within,
        )

    @property
    def sign(self) -> int:
        """1 if higher values are better, else -1."""
        return sign_of(self.better)

    @property
    def bounded(self) -> bool:
        """Whether both bounds of the range are known."""
        return all(map(math.isfinite, self.range))

    @property
    def as_json(self) -> dict[str, Any]:
        """The meaning as JSON data; an unknown bound of the range is null."""
        bounds = [bound if math.isfinite(bound) else None for bound in self.range]
        return {
            "metric": self.metric,
            "measure": self.measure,
            "better": self.better,
            "range": bounds,
            "topic": self.topic,
            "within": self.within,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Parse the result of :attr:`as_json`.

        Raises:
            KeyError, TypeError, ValueError: the data are not valid.
        """
        low, high = data["range"]
        if data["better"] not in ("higher", "lower"):
            raise ValueError(data["better"])
        return cls(
            metric=str(data["metric"]),
            measure=str(data["measure"]),
            better=data["better"],
            range=(-math.inf if low is None else float(low), math.inf if high is None else float(high)),
            topic=data["topic"],
            within=bool(data["within"]),
        )


def meanings_in(summary: Mapping[str, Any]) -> Mapping[str, MetricMeaning]:
    """Return the meanings of the metrics in a run's ``summary.json`` by reported name; empty if they are not valid."""
    meanings = summary.get("meaning")
    try:
        return {str(name): MetricMeaning.from_json(data) for name, data in (meanings or {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def main_metric(meanings: Mapping[str, MetricMeaning]) -> str | None:
    """Return the name of the metric by which runs are listed and compared: the average of the first measure."""
    return next((name for name, meaning in meanings.items() if meaning.metric == AVERAGE.name), None)
