"""Intermediate values of a running trial, which a pruner compares with those of other trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rlcl.evaluation.results import measure_named
from rlcl.tracking.folder import RECORDS
from rlcl.tracking.jsonlines import read_lines

__all__ = ["intermediate_values"]


def intermediate_values(run: Path, measure: str) -> Sequence[float]:
    """Return the mean performance over the experiences seen so far at each evaluation of a run; higher is better.

    Args:
        run: the folder of a run that may still be in progress.
        measure: name of the primary measure of the learner.
    """
    evaluations: dict[tuple[int, int], list[float]] = defaultdict(list)  # by step and experience trained on
    sign = measure_named(measure).sign
    for row in read_lines(run / RECORDS):
        seen = 0 <= row["evaluated_on"] <= row["trained_on"]
        if row["metric"] == measure and seen and row["value"] is not None:
            evaluations[row["step"], row["trained_on"]].append(sign * row["value"])
    return [sum(values) / len(values) for _, values in sorted(evaluations.items())]
