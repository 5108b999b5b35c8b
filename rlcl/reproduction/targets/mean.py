"""Target of the type ``mean``: a published mean."""

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
from rlcl.evaluation.results import reported_metrics
from rlcl.experiment import Experiment
from rlcl.registry import entries
from rlcl.reproduction.types import ResultRow, SideResult
from rlcl.statistics.intervals import standard_error, summarize

__all__ = ["Mean", "unknown_metric_faults"]


@frozen(kw_only=True)
class Mean:
    """Published mean, and the maximum difference of our mean.

    Args:
        metric: name of the metric in the summary of a run.
        value: published mean, in the metric's unit (accuracies in [0, 1]).
        error: published error, after the plus-minus sign; null if none is published.
        error_is: meaning of the error: a ``deviation`` over runs, or the ``standard error`` of the mean.
        runs: number of runs behind the published mean; required with a deviation.
        tolerance: difference that always passes, in the metric's unit.
        standard_errors: number of standard errors of the difference that pass, if they exceed the tolerance.
        decides: whether there is a verdict; false if the published number is in doubt.
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

    heading: ClassVar[str] = "Comparison with a published mean"
    rule: ClassVar[tuple[str, ...]] = (
        "A row is reproduced if the two means differ by at most the allowed difference: two standard errors of the",
        "difference, or the tolerance if it is larger. Intervals are 95 % Student intervals over seeds. Time is the",
        "median over seeds. The JSON file contains R and all metrics of each row.",
    )
    brief: ClassVar[tuple[str, ...]] = (
        *("protocol", "published", "ours", "interval", "seeds", "difference", "allowed", "verdict"),
    )
    may_differ: ClassVar[tuple[str, ...]] = ()

    def __attrs_post_init__(self) -> None:
        if self.error is not None and self.error_is == "deviation" and self.runs is None:
            raise Problem("a deviation needs the number of runs; set runs, or error_is: standard error", "error")

    @property
    def claim(self) -> str:
        return f"{self.value:.4f}" + ("" if self.error is None else f" ± {self.error:.4f}")

    @property
    def standard_error(self) -> float:
        """Standard error of the published mean; 0 if none is published."""
        if self.error is None:
            return 0.0
        return self.error if self.error_is == "standard error" else self.error / math.sqrt(self.runs or 1)

    def allowed(self, standard_error: float) -> float:
        """Compute the maximum difference that passes.

        Args:
            standard_error: standard error of our mean; 0 if it is unknown.
        """
        return max(self.tolerance, self.standard_errors * math.hypot(self.standard_error, standard_error))

    @staticmethod
    def sides(data: Mapping[str, Any]) -> Mapping[str, tuple[Key, ...]]:
        return {"ours": ()}

    def check(self, sides: Mapping[str, Experiment]) -> Iterator[Fault]:
        yield from unknown_metric_faults(self.metric, sides["ours"])

    def judge(self, sides: Mapping[str, SideResult]) -> ResultRow:
        ours = sides["ours"]
        values = ours.values(self.metric)
        summary, single_seed = summarize(values), len(values) == 1
        # The error of a single seed is unknown and counts as 0.
        difference, allowed = summary.mean - self.value, self.allowed(float(standard_error(values)))
        verdict = "reproduced" if abs(difference) <= allowed else "differs"
        return {
            "target": attrs.asdict(self),
            "ours": summary.mean,
            "interval": None if single_seed else [summary.low, summary.high],
            "seeds": list(ours.experiment.seeds),
            "values": list(values),
            "difference": difference,
            "allowed": allowed,
            "verdict": verdict if self.decides else "not judged",
            "hash": ours.experiment.hash,
            "git": ours.git,
            "seconds": ours.seconds,
            "metrics": ours.metrics,
            "R": mean_R(ours),
        }

    @staticmethod
    def lines(name: str, row: ResultRow) -> list[Mapping[str, str]]:
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


def mean_R(side: SideResult) -> list[list[float | None] | None]:  # noqa: N802
    """Compute the mean of R over seeds, (T, J), with None for cells and for whole rows that were not measured."""
    mean = np.mean([run.outcome.R for run in side.runs], axis=0)
    rows = [[None if math.isnan(cell) else round(float(cell), 6) for cell in row] for row in mean]
    return [None if row.count(None) == len(row) else row for row in rows]


def unknown_metric_faults(metric: str, experiment: Experiment) -> Iterator[Fault]:
    """Yield a fault if no run of the experiment can have a metric of that name."""
    names = reported_metrics(tuple(entries("measure")), experiment.evaluation.metrics)
    if metric not in names:
        yield Fault(("target", "metric"), f"no metric {metric!r}{did_you_mean(metric, names)}")
