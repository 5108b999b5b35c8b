"""A comparison of runs, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from rlcl.comparison.pairs import Settings
from rlcl.comparison.scores import gather
from rlcl.comparison.tables import Report
from rlcl.errors import RunFolderError, UnsupportedError
from rlcl.tracking.runs import Run

__all__ = ["Ranking", "ranking"]


@frozen
class Ranking:
    """What ``rlcl compare`` says of the same runs.

    Args:
        report: None where they are refused.
        refusal: why; empty where they are not.
    """

    report: Report | None
    refusal: str = ""


def ranking(runs: Sequence[Run], metric: str | None = None) -> Ranking:
    """Compares runs, with the settings that ``rlcl compare`` has by default.

    Args:
        runs: see :func:`rlcl.comparison.scores.gather`.
        metric: the average of each stream's first measure by default.
    """
    try:
        return Ranking(Report(scores=gather(runs, metric), settings=Settings()))
    except (UnsupportedError, RunFolderError) as error:
        return Ranking(None, str(error))
