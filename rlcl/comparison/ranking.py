"""Comparison of runs with default settings, or the reason why they cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from rlcl.comparison.pairs import ComparisonSettings
from rlcl.comparison.scores import gather_scores
from rlcl.comparison.tables import ComparisonReport
from rlcl.errors import RunFolderError, UnsupportedError
from rlcl.tracking.runs import StoredRun

__all__ = ["Ranking", "rank_runs"]


@frozen
class Ranking:
    """The result of ``rlcl compare`` for the same runs.

    Args:
        report: the comparison; None if the runs cannot be compared.
        error: message of the error if the runs cannot be compared; empty otherwise.
    """

    report: ComparisonReport | None
    error: str = ""


def rank_runs(runs: Sequence[StoredRun], metric: str | None = None) -> Ranking:
    """Compare runs with the default settings of ``rlcl compare``.

    Args:
        runs: see :func:`rlcl.comparison.scores.gather_scores`.
        metric: name of the metric; by default the average of the first measure of each stream.
    """
    try:
        return Ranking(ComparisonReport(scores=gather_scores(runs, metric), settings=ComparisonSettings()))
    except (UnsupportedError, RunFolderError) as error:
        return Ranking(None, str(error))
