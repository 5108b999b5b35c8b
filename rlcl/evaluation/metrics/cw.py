"""Metrics of Continual World (Wolczyk et al. 2021), as the authors' code computes them (awarelab/continual_world).

They are defined for shares: ``success``, ``accuracy``, or ``score``, which is clipped to [0, 1]. The paper uses sampled
actions (``evaluation.actions: sampled``) and evaluates every 20,000 env steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlcl.evaluation.metrics.metric import NOT_EVALUATED, Metric, Pooling, Undefined
from rlcl.evaluation.metrics.visits import check_shares, final_mean, mean, shares_of, single_task_curve, visits_of

if TYPE_CHECKING:
    from rlcl.evaluation.results import Results

__all__ = ["FORGETTING_CW", "FORWARD_TRANSFER_CW", "FORWARD_TRANSFER_CW_SEED", "PERFORMANCE_CW", "areas"]

Array = np.ndarray[Any, Any]
FINAL = 5  # evaluations whose mean is the final performance


def performance_cw(results: Results) -> float:
    """Compute the mean over tasks of p_j at the end, the mean of the last 5 evaluations of the last experience.

    If the last experience has fewer evaluations, all of them count.

    Source: Wolczyk et al. 2021, section 4.2; ``calculate_data_at_the_end`` of the authors' code.
    """
    visited = visits_of(results)
    check_shares(results)
    return _mean_of_all([_performance(results, len(visited.visits) - 1, task) for task in visited.tasks])


PERFORMANCE_CW = Metric("performance.cw", performance_cw, range=(0.0, 1.0), within=True, default=False)


def forgetting_cw(results: Results) -> float:
    """Compute mean_j (p_j at the end of its training - p_j at the end), including the last task, whose term is 0.

    p_j is the mean of the last 5 evaluations of an experience, or of all if it has fewer.

    Source: Wolczyk et al. 2021, section 4.2; ``calculate_forgetting_individual`` of the authors' code.
    """
    visited = visits_of(results, min_tasks=2)
    check_shares(results)
    final = len(visited.visits) - 1
    losses = np.array(
        [_performance(results, row, task) - _performance(results, final, task) for task, row in visited.last.items()]
    )
    left = np.array([row < final for row in visited.last.values()])
    if np.isnan(losses[left]).all():  # only the last term, 0, is known
        raise Undefined(NOT_EVALUATED)
    return mean(losses)


FORGETTING_CW = Metric(
    "forgetting.cw", forgetting_cw, better="lower", range=(-1.0, 1.0), topic="forgetting", within=True
)


def areas(results: Results) -> tuple[Array, Array]:
    """Return the areas (J,) under the curves of all tasks, during training on them and in their single-task runs.

    Raises:
        Undefined: there are no single-task runs, or a task was not evaluated during training on it.
    """
    visited = visits_of(results)
    check_shares(results)
    curves = [results.curve(row, task) for task, row in visited.first.items()]
    if not all(map(len, curves)):
        raise Undefined(NOT_EVALUATED)
    alone = [shares_of(results, single_task_curve(results, task)) for task in visited.first]
    return np.array([shares_of(results, c).mean() for c in curves]), np.array([curve.mean() for curve in alone])


def forward_transfer_cw(continual: Array, alone: Array) -> float:
    """Compute mean_j (AUC_j - AUC_j alone) / (1 - AUC_j alone), each area being a mean over seeds.

    Args:
        continual: (S, J) areas of S seeds; see :func:`areas`.
        alone: (S, J) areas of their single-task runs.

    An area is the mean of the evaluations on a task during training on it (its first visit, if there are several), and
    during a single-task run. Not defined if the area of a single-task run is 1.

    Source: Wolczyk et al. 2021, section 4.2; ``calculate_forward_transfer`` of the authors' code, which divides means
    over seeds.
    """
    return _transfer(continual.mean(0), alone.mean(0))


def forward_transfer_cw_seed(results: Results) -> float:
    """Compute the formula of ``forward_transfer.cw`` for the areas of a single seed.

    Its mean over seeds is a mean of ratios, which differs from the ratio of means in ``forward_transfer.cw``.

    Source: Wolczyk et al. 2021, section 4.2.
    """
    return _transfer(*areas(results))


FORWARD_TRANSFER_CW = Metric(
    "forward_transfer.cw",
    forward_transfer_cw_seed,
    topic="transfer",
    within=True,
    default=False,
    pooling=Pooling(areas, forward_transfer_cw),
)
FORWARD_TRANSFER_CW_SEED = Metric(
    "forward_transfer.cw_seed", forward_transfer_cw_seed, topic="transfer", within=True, default=False
)


def _transfer(continual: Array, alone: Array) -> float:
    if (alone == 1).any():
        raise Undefined("the area under the curve of a single-task run is 1, so that transfer cannot be above 0")
    return float(np.mean((continual - alone) / (1 - alone)))


def _performance(results: Results, row: int, task: int) -> float:
    return final_mean(shares_of(results, results.curve(row, task)), FINAL)


def _mean_of_all(values: Sequence[float]) -> float:
    if np.isnan(values).any():
        raise Undefined(NOT_EVALUATED)
    return float(np.mean(values))
