"""Backward and forward transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlcl.evaluation.metrics.metric import Metric, Undefined
from rlcl.evaluation.metrics.visits import mean, visits_of, widened

if TYPE_CHECKING:
    from rlcl.evaluation.results import Results

__all__ = ["BACKWARD_TRANSFER", "BACKWARD_TRANSFER_ONE_STEP", "FORWARD_TRANSFER_GEM"]


def backward_transfer(results: Results) -> float:
    """Compute mean_{j<T-1} (R[T-1, j] - R[j, j]). Source: Lopez-Paz & Ranzato 2017, BWT."""
    visited = visits_of(results, min_tasks=2)
    return mean((visited.final - visited.learned)[visited.left])


BACKWARD_TRANSFER = Metric("backward_transfer", backward_transfer, range="change", topic="transfer")


def backward_transfer_one_step(results: Results) -> float:
    """Compute mean_{m<T-1} (R[m+1, m] - R[m, m]), the change during training on the next experience.

    With repeated visits, m counts visits, and column m is the task of visit m.

    Source: Kumar et al. 2024, Maintaining plasticity in continual learning via regenerative regularization. The paper
    has no repeated visits.
    """
    visited = visits_of(results, min_tasks=2)
    rows = range(len(visited.matrix) - 1)
    return mean([visited.matrix[m + 1, visited.visits[m]] - visited.matrix[m, visited.visits[m]] for m in rows])


BACKWARD_TRANSFER_ONE_STEP = Metric(
    "backward_transfer.one_step", backward_transfer_one_step, range="change", topic="transfer", default=False
)


def forward_transfer_gem(results: Results) -> float:
    """Compute mean_{j>0} (R[j-1, j] - before[j]), j-1 being the row before the first visit of task j.

    Source: Lopez-Paz & Ranzato 2017, FWT.
    """
    visited = visits_of(results, min_tasks=2)
    if not len(results.before) or np.isnan(results.before).all():
        raise Undefined("there was no evaluation before training; set evaluation.before: true")
    before = widened(results.before, visited.matrix.shape[1])
    return mean([visited.matrix[row - 1, task] - before[task] for task, row in visited.first.items() if row > 0])


FORWARD_TRANSFER_GEM = Metric("forward_transfer.gem", forward_transfer_gem, range="change", topic="transfer")
