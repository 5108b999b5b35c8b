"""What the metrics of one run mean, as its ``summary.json`` keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from attrs import frozen

from rlcl.evaluation.metrics import AVERAGE, UNKNOWN, Better, Metric, Span, Topic, sign_of

if TYPE_CHECKING:
    from rlcl.evaluation.measures import Measure

__all__ = ["Meaning", "decisive", "meanings_in"]


@frozen(kw_only=True)
class Meaning:
    """What a reported metric means in one run; ``summary.json`` keeps it, so that a comparison needs no other file.

    Args:
        metric: name of the metric, without its measure's.
        measure: that it is computed from, as a registry name or reference.
        better: ``higher`` or ``lower`` values.
        range: between which numbers it lies; infinite where that is not known.
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
        """
        Args:
            metric: that is reported.
            reference: of the measure that it is computed from.
            measure: the same.
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
        """1 where higher values are better, else -1."""
        return sign_of(self.better)

    @property
    def bounded(self) -> bool:
        """Whether both ends of the range are known."""
        return all(map(math.isfinite, self.range))

    @property
    def as_json(self) -> dict[str, Any]:
        """As plain data; an unknown end of the range is null."""
        ends = [end if math.isfinite(end) else None for end in self.range]
        return {
            "metric": self.metric,
            "measure": self.measure,
            "better": self.better,
            "range": ends,
            "topic": self.topic,
            "within": self.within,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """
        Raises:
            KeyError, TypeError, ValueError: the data are damaged.
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


def meanings_in(summary: Mapping[str, Any]) -> Mapping[str, Meaning]:
    """What the metrics of a run's ``summary.json`` mean, by the name that each is reported under; empty if damaged."""
    found = summary.get("meaning")
    try:
        return {str(name): Meaning.from_json(data) for name, data in (found or {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def decisive(meanings: Mapping[str, Meaning]) -> str | None:
    """The name of the metric that a run is listed and compared by: the average of its first measure."""
    return next((name for name, meaning in meanings.items() if meaning.metric == AVERAGE.name), None)
