"""What a run came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from rlcl.evaluation.meaning import Meaning
from rlcl.evaluation.results import Results, meanings, metrics
from rlcl.types import Record

__all__ = ["Outcome"]


@frozen(eq=False)
class Outcome:
    """What a run came to, all of it computed from its records.

    Args:
        records: all of them.
        measures: the learner's, the decisive one first.
        names: of the metrics asked for; all that apply by default.
    """

    records: tuple[Record, ...]
    measures: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def R(self) -> Any:  # noqa: N802
        """(T, J) float64 of the decisive measure, higher being better."""
        return Results(self.records, self.measures[0]).R

    @property
    def metrics(self) -> Mapping[str, float]:
        return metrics(self.records, self.measures, self.names)

    @property
    def meanings(self) -> Mapping[str, Meaning]:
        """What the metrics mean, by the same names; those that the run does not define among them."""
        return meanings(self.measures, self.names)
