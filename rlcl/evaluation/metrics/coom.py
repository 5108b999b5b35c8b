"""Metrics of COOM (Tomilin et al. 2023), as the authors' code computes them (TTomilin/COOM, ``results/common.py``).

They are defined for shares: ``success``, ``accuracy``, or ``score``, which is clipped to [0, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlcl.evaluation.metrics.cw import areas
from rlcl.evaluation.metrics.metric import NOT_EVALUATED, Metric, Undefined
from rlcl.evaluation.metrics.visits import check_shares, final_mean, mean, shares_of, visits_of

if TYPE_CHECKING:
    from rlcl.evaluation.results import Results

__all__ = ["FORGETTING_COOM", "FORWARD_TRANSFER_COOM", "PERFORMANCE_COOM"]

FINAL = 10  # evaluations whose mean is the final performance


def performance_coom(results: Results) -> float:
    """Compute the mean over all t and all tasks j visited up to t of the performance on j during training on t.

    The performance during training is the mean of all its evaluations.

    Source: Tomilin et al. 2023; ``calculate_performance`` of the authors' code, which also leaves out performances of
    exactly 0; they count here.
    """
    visited = visits_of(results)
    check_shares(results)
    values = [
        float(np.mean(shares_of(results, curve)))
        for row in range(len(visited.visits))
        for task in sorted(set(visited.visits[: row + 1]))
        if len(curve := results.curve(row, task))
    ]
    return mean(values)


PERFORMANCE_COOM = Metric("performance.coom", performance_coom, range=(0.0, 1.0), within=True, default=False)


def forgetting_coom(results: Results) -> float:
    """Compute mean_{j<T-1} (p_j at the end of its training - p_j at the end), without the last task.

    p_j is the mean of the last 10 evaluations of an experience, or of all if it has fewer.

    Source: Tomilin et al. 2023; ``calculate_forgetting`` of the authors' code.
    """
    visited = visits_of(results, min_tasks=2)
    check_shares(results)
    final = len(visited.visits) - 1
    return mean(
        [
            _performance(results, row, task) - _performance(results, final, task)
            for task, row in visited.last.items()
            if row < final
        ]
    )


FORGETTING_COOM = Metric(
    "forgetting.coom",
    forgetting_coom,
    better="lower",
    range=(-1.0, 1.0),
    topic="forgetting",
    within=True,
    default=False,
)


def forward_transfer_coom(results: Results) -> float:
    """Compute (AUC - AUC alone) / (1 - AUC alone), each area being a mean over all tasks.

    See :func:`rlcl.evaluation.metrics.cw.areas`. In contrast to ``forward_transfer.cw``, the areas are averaged over
    tasks before the division, and the result is averaged over seeds. Tasks have the same weight here; in the authors'
    code, they have the same number of evaluations.

    Source: Tomilin et al. 2023; ``calculate_transfer`` of the authors' code.
    """
    continual, alone = (float(np.mean(values)) for values in areas(results))
    if alone == 1:
        raise Undefined("the areas under the curves of all single-task runs are 1, so that transfer cannot be above 0")
    return (continual - alone) / (1 - alone)


FORWARD_TRANSFER_COOM = Metric(
    "forward_transfer.coom", forward_transfer_coom, topic="transfer", within=True, default=False
)


def _performance(results: Results, row: int, task: int) -> float:
    curve = results.curve(row, task)
    if not len(curve):
        raise Undefined(NOT_EVALUATED)
    return final_mean(shares_of(results, curve), FINAL)
