"""Outcome of a run: its matrix R and its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from rlcl.evaluation.metric_meaning import MetricMeaning
from rlcl.evaluation.results import Results, meanings, metrics, undefined_metrics
from rlcl.types import Record

__all__ = ["Outcome"]


@frozen(eq=False)
class Outcome:
    """Outcome of a run, computed from its records.

    Args:
        records: all records of the run.
        measures: measures of the learner, the primary one first.
        names: names of the requested metrics; all applicable metrics by default.
    """

    records: tuple[Record, ...]
    measures: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def R(self) -> Any:  # noqa: N802
        """Matrix R (T, J) float64 of the primary measure; higher values are better."""
        return Results(self.records, self.measures[0]).R

    def row_names(self, trained: Sequence[str]) -> list[str]:
        """Return the names of the rows of R; see :meth:`rlcl.evaluation.results.Results.row_names`."""
        return Results(self.records, self.measures[0]).row_names(trained)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Values of the metrics by reported name."""
        return metrics(self.records, self.measures, self.names)

    @property
    def undefined(self) -> Mapping[str, str]:
        """Reasons why requested metrics are not defined for the run, by reported name."""
        return undefined_metrics(self.records, self.measures, self.names)

    @property
    def meanings(self) -> Mapping[str, MetricMeaning]:
        """Meanings of the metrics by reported name, including metrics that are not defined for the run."""
        return meanings(self.measures, self.names)
