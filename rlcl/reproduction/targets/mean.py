"""A published mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import attrs
import numpy as np
from attrs import frozen

from rlcl.config import Fault, option
from rlcl.config.faults import Key
from rlcl.errors import Problem, did_you_mean
from rlcl.evaluation.results import reported
from rlcl.experiment import Experiment
from rlcl.registry import entries
from rlcl.reproduction.sides import Row, Side
from rlcl.statistics.intervals import standard_error, summarize

__all__ = ["Mean", "unknown_metric"]


@frozen(kw_only=True)
class Mean:
    """A published number, and how near to it ours must come.

    Args:
        metric: as a run's summary names it.
        value: the published mean, in the metric's unit (accuracies in [0, 1]).
        error: what is published behind the plus-minus sign; null where nothing is.
        error_is: a ``deviation`` over runs, or the ``standard error`` of the mean.
        runs: how many the published mean is over; needed beside a deviation.
        tolerance: a difference that always passes, in the metric's unit.
        standard_errors: of the difference of the two means, that pass where they are more.
        decides: whether there is a verdict; false where the published number is itself in doubt.
        source: paper and table.
    """

    metric: str = option("accuracy.average")
    value: float = option()
    error: float | None = option(None, ge=0)
    error_is: Literal["deviation", "standard error"] = option("deviation")
    runs: int | None = option(None, ge=1)
    tolerance: float = option(0.015, ge=0)
    standard_errors: float = option(2.0, ge=0)
    decides: bool = option(True)
    source: str = option(pattern=(r".*\S.*", "a paper and a table"))

    heading: ClassVar[str] = "Beside a published mean"
    rule: ClassVar[tuple[str, ...]] = (
        "A row is reproduced where the two means differ by no more than is allowed: two standard errors of the",
        "difference, or a tolerance where that is more. Intervals are Student's, at 95 %, over seeds. Time is the",
        "median of a seed. R and all metrics of each row stand in the JSON file.",
    )
    brief: ClassVar[tuple[str, ...]] = (
        *("protocol", "published", "ours", "interval", "seeds", "difference", "allowed", "verdict"),
    )
    may_differ: ClassVar[tuple[str, ...]] = ()

    def __attrs_post_init__(self) -> None:
        if self.error is not None and self.error_is == "deviation" and self.runs is None:
            raise Problem("a deviation needs the number of runs that it is over; set runs, or error_is", "error")

    @property
    def claim(self) -> str:
        return f"{self.value:.4f}" + ("" if self.error is None else f" ± {self.error:.4f}")

    @property
    def standard_error(self) -> float:
        """Of the published mean; 0 where none is published."""
        if self.error is None:
            return 0.0
        return self.error if self.error_is == "standard error" else self.error / math.sqrt(self.runs or 1)

    def allowed(self, standard_error: float) -> float:
        """The largest difference that passes.

        Args:
            standard_error: of our mean, 0 where it is unknown.
        """
        return max(self.tolerance, self.standard_errors * math.hypot(self.standard_error, standard_error))

    @staticmethod
    def sides(data: Mapping[str, Any]) -> Mapping[str, tuple[Key, ...]]:
        return {"ours": ()}

    def check(self, sides: Mapping[str, Experiment]) -> Iterator[Fault]:
        yield from unknown_metric(self.metric, sides["ours"])

    def judge(self, sides: Mapping[str, Side]) -> Row:
        ours = sides["ours"]
        values = ours.values(self.metric)
        found, alone = summarize(values), len(values) == 1
        # The error of a single seed is unknown, and counts as none.
        difference, allowed = found.mean - self.value, self.allowed(float(standard_error(values)))
        judged = "reproduced" if abs(difference) <= allowed else "differs"
        return {
            "target": attrs.asdict(self),
            "ours": found.mean,
            "interval": None if alone else [found.low, found.high],
            "seeds": list(ours.experiment.seeds),
            "values": list(values),
            "difference": difference,
            "allowed": allowed,
            "verdict": judged if self.decides else "not judged",
            "hash": ours.experiment.hash,
            "git": ours.git,
            "seconds": ours.seconds,
            "metrics": ours.metrics,
            "R": mean_R(ours),
        }

    @staticmethod
    def lines(name: str, row: Row) -> list[Mapping[str, str]]:
        target = row["target"]
        error = "" if target["error"] is None else f" ± {target['error']:.4f}"
        return [
            {
                "protocol": name,
                "metric": target["metric"],
                "published": f"{target['value']:.4f}{error}",
                "ours": f"{row['ours']:.4f}",
                "interval": "" if row["interval"] is None else "{:.4f} to {:.4f}".format(*row["interval"]),
                "seeds": str(len(row["seeds"])),
                "difference": f"{row['difference']:+.4f}",
                "allowed": f"{row['allowed']:.4f}",
                "verdict": row["verdict"],
                "time": f"{np.median(row['seconds']):.0f} s" if row.get("seconds") else "",
            }
        ]


def mean_R(side: Side) -> list[list[float | None] | None]:  # noqa: N802
    """R's mean over seeds, (T, J); None where a cell, or a whole row, was not measured."""
    mean = np.mean([run.outcome.R for run in side.runs], axis=0)
    rows = [[None if math.isnan(cell) else round(float(cell), 6) for cell in row] for row in mean]
    return [None if row.count(None) == len(row) else row for row in rows]


def unknown_metric(metric: str, experiment: Experiment) -> Iterator[Fault]:
    """A fault where no run of the experiment will have a metric of that name."""
    known = reported(tuple(entries("measure")), experiment.evaluation.metrics)
    if metric not in known:
        yield Fault(("target", "metric"), f"no metric {metric!r}{did_you_mean(metric, known)}")
