"""Scores of tasks without a ``score_range``, from the returns of random actions and of single-task runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from rlcl.evaluation.results import RANDOM_RETURN, baseline_name
from rlcl.types import Record

__all__ = ["derived_scores"]


def derived_scores(records: Sequence[Record]) -> Iterator[Record]:
    """Yield the scores of a run and of its single-task runs.

    The score 0 is the return of random actions, and 1 the last return of the single-task run on the task. A task whose
    single-task run is not better than random actions has no scores.

    Args:
        records: all records of the run, with those of its baselines.
    """
    random = {r.evaluated_on: r.value for r in records if r.metric == RANDOM_RETURN}
    alone = {
        r.evaluated_on: r.value
        for r in sorted(records, key=lambda r: r.step)
        if r.metric == baseline_name("single_task", "return")
    }
    names = {"return": "score", baseline_name("single_task", "return"): baseline_name("single_task", "score")}
    for r in records:
        low, high = random.get(r.evaluated_on), alone.get(r.evaluated_on)
        if r.metric in names and low is not None and high is not None and low < high:
            yield attrs.evolve(r, metric=names[r.metric], value=(r.value - low) / (high - low))
