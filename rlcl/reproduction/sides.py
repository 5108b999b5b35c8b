"""What a protocol runs, side by side, and what it asks of its target."""

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

__all__ = ["Drawn", "Row", "Run", "Side", "Target", "Verdict"]

Verdict = Literal["reproduced", "differs", "not judged"]
Row = Mapping[str, Any]
"""What a protocol came to, as the results file holds it: plain data with ``target``, ``seeds`` and ``verdict``."""


@frozen(kw_only=True)
class Run:
    """One finished run.

    Args:
        outcome: its records.
        path: its folder.
        seconds: wall time, evaluations included.
    """

    outcome: Outcome
    path: Path = Path()
    seconds: float = 0.0


@frozen(kw_only=True)
class Side:
    """What one experiment of a protocol came to.

    Args:
        experiment: that was run.
        runs: one a seed, in the order of its seeds.
        git: revision that the first seed was run with, and whether it was dirty; None outside a repository.
    """

    experiment: Experiment
    runs: tuple[Run, ...]
    git: Mapping[str, Any] | None = None

    def values(self, metric: str) -> tuple[float, ...]:
        """A metric, one value a seed.

        Raises:
            Problem: these runs do not define it.
        """
        for run in self.runs:
            if metric not in run.outcome.metrics:
                known = ", ".join(run.outcome.metrics) or "none"
                raise Problem(f"{run.path} has no {metric}; its metrics: {known}", "target.metric")
        return tuple(run.outcome.metrics[metric] for run in self.runs)

    @property
    def seconds(self) -> list[float]:
        """Wall time of each run."""
        return [round(run.seconds, 1) for run in self.runs]

    @property
    def metrics(self) -> dict[str, float]:
        """Means over seeds of every metric that all seeds define."""
        found = [run.outcome.metrics for run in self.runs]
        names = [name for name in found[0] if all(name in each for each in found)]
        return {name: round(float(np.mean([each[name] for each in found])), 6) for name in names}


class Target(Protocol):
    """What the runs of a protocol are held against: an attrs class whose init fields are the keys of ``target``.

    Attributes:
        heading: of its rows in the results.
        rule: what a verdict says, as lines of Markdown.
        brief: the columns that the terminal shows.
        may_differ: the keys of an experiment that one side may have otherwise than another.
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
        """What is published, in a phrase."""
        ...

    @staticmethod
    def sides(data: Mapping[str, Any]) -> Mapping[str, tuple[Key, ...]]:
        """By name, where in a file the keys stand that make a side; empty for the experiment of the file itself.

        Raises:
            Faults: the file has no sides of this kind.
        """
        ...

    def check(self, sides: Mapping[str, Experiment]) -> Iterator[Fault]:
        """What is wrong with the target of these experiments, before anything is run."""
        ...

    def judge(self, sides: Mapping[str, Side]) -> Row:
        """
        Raises:
            Problem: the runs have not what the target asks for.
        """
        ...

    @staticmethod
    def lines(name: str, row: Row) -> list[Mapping[str, str]]:
        """A row as lines of a table, by column; all rows of one kind have the same columns."""
        ...


@runtime_checkable
class Drawn(Protocol):
    """A target whose rows have a picture beside the tables."""

    @staticmethod
    def figure(name: str, row: Row) -> Figure: ...
