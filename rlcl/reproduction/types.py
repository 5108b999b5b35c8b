"""Results of a protocol's sides, and the interface of its target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from attrs import frozen

from rlcl.config import Fault
from rlcl.config.faults import Key
from rlcl.errors import Problem
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import Experiment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ReproductionRun", "ReproductionVerdict", "ResultRow", "SideResult", "Target", "TargetWithFigure"]

ReproductionVerdict = Literal["reproduced", "differs", "not judged"]
ResultRow = Mapping[str, Any]
"""Result of a protocol in the results file: plain data with ``target``, ``seeds`` and ``verdict``."""


@frozen(kw_only=True)
class ReproductionRun:
    """One finished run of a protocol.

    Args:
        outcome: records and metrics of the run.
        path: folder or file of the run.
        seconds: wall time, including evaluations.
    """

    outcome: Outcome
    path: Path = Path()
    seconds: float = 0.0


@frozen(kw_only=True)
class SideResult:
    """Result of one side of a protocol, which is an experiment.

    Args:
        experiment: the experiment of the side.
        runs: one run per seed, in the order of the seeds.
        git: git revision of the first seed's run, and whether it was dirty; None outside a repository.
    """

    experiment: Experiment
    runs: tuple[ReproductionRun, ...]
    git: Mapping[str, Any] | None = None

    def values(self, metric: str) -> tuple[float, ...]:
        """Return the values of a metric, one per seed.

        Raises:
            Problem: a run does not define the metric.
        """
        for run in self.runs:
            if metric not in run.outcome.metrics:
                names = ", ".join(run.outcome.metrics) or "none"
                raise Problem(f"{run.path} has no {metric}; its metrics: {names}", "target.metric")
        return tuple(run.outcome.metrics[metric] for run in self.runs)

    @property
    def seconds(self) -> list[float]:
        """Wall time of each run in seconds."""
        return [round(run.seconds, 1) for run in self.runs]

    @property
    def metrics(self) -> dict[str, float]:
        """Mean over seeds of each metric that all seeds define."""
        values = [run.outcome.metrics for run in self.runs]
        names = [name for name in values[0] if all(name in metrics for metrics in values)]
        return {name: round(float(np.mean([metrics[name] for metrics in values])), 6) for name in names}


class Target(Protocol):
    """Target that the results of a protocol are compared with: an attrs class whose init fields are ``target``'s keys.

    Attributes:
        heading: heading of the rows of this kind in the results.
        rule: explanation of the verdict, as lines of Markdown.
        brief: names of the columns printed on the terminal.
        may_differ: keys of an experiment that may differ between sides.
    """

    heading: ClassVar[str]
    rule: ClassVar[tuple[str, ...]]
    brief: ClassVar[tuple[str, ...]]
    may_differ: ClassVar[tuple[str, ...]]

    @property
    def metric(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def claim(self) -> str:
        """The published claim as a short text."""
        ...

    @staticmethod
    def sides(data: Mapping[str, Any]) -> Mapping[str, tuple[Key, ...]]:
        """Return the path of each side's keys in a file, by name; empty for the experiment of the file itself.

        Raises:
            Faults: the file does not define the sides that this kind of target needs.
        """
        ...

    def check(self, sides: Mapping[str, Experiment]) -> Iterator[Fault]:
        """Yield the faults of the target for these experiments, before the runs."""
        ...

    def judge(self, sides: Mapping[str, SideResult]) -> ResultRow:
        """Compare the results of all sides with the target.

        Raises:
            Problem: the runs do not have the metric of the target.
        """
        ...

    @staticmethod
    def lines(name: str, row: ResultRow) -> list[Mapping[str, str]]:
        """Return a row as lines of a table, by column; all rows of one kind have the same columns."""
        ...


@runtime_checkable
class TargetWithFigure(Protocol):
    """Target whose rows have a figure in addition to the tables."""

    @staticmethod
    def figure(name: str, row: ResultRow) -> Figure: ...
