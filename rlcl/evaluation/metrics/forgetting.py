"""Forgetting and intransigence of Chaudhry et al. 2018."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlcl.evaluation.metrics.metric import Metric, Undefined
from rlcl.evaluation.metrics.visits import last_value, mean, visits_of

if TYPE_CHECKING:
    from rlcl.evaluation.results import Results

__all__ = ["FORGETTING_CHAUDHRY", "INTRANSIGENCE"]


def forgetting_chaudhry(results: Results) -> float:
    """Compute mean_{j<T-1} (max_{0<=l<T-1} R[l, j] - R[T-1, j]). Source: Chaudhry et al. 2018, eq. 3."""
    visited = visits_of(results, min_tasks=2)
    earlier, final = visited.matrix[:-1][:, visited.tasks][:, visited.left], visited.final[visited.left]
    measured = ~np.isnan(earlier).all(0)
    return mean(np.nanmax(earlier[:, measured], 0) - final[measured])


FORGETTING_CHAUDHRY = Metric(
    "forgetting.chaudhry", forgetting_chaudhry, better="lower", range="change", topic="forgetting"
)


def intransigence(results: Results) -> float:
    """Compute mean_j (R*_j - R[j, j]), R*_j being the performance on j after joint training on experiences 0 to j.

    Source: Chaudhry et al. 2018, eq. 5. With repeated visits, R[j, j] is the performance at the end of the last visit,
    and joint training is on the tasks 0 to j in their order; this generalization is ours.
    """
    visited = visits_of(results)
    joint = np.array([last_value(results.baseline("joint", task)) for task in visited.tasks])
    if np.isnan(joint).all():
        raise Undefined("there are no joint runs; set evaluation.baselines: joint")
    return mean(joint - visited.learned)


INTRANSIGENCE = Metric("intransigence", intransigence, better="lower", range="change", topic="transfer")
