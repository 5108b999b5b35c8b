"""Metrics of CORA (Powers et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlcl.evaluation.metrics.metric import Metric, Undefined
from rlcl.evaluation.metrics.visits import mean, visits_of, widened

if TYPE_CHECKING:
    from rlcl.evaluation.results import Results

__all__ = ["FORGETTING_CORA", "FORWARD_TRANSFER_CORA"]

Array = np.ndarray[Any, Any]


def forgetting_cora(results: Results) -> float:
    """Compute the mean over i < j of (r_i before j - r_i after j) / max |r_i|. Source: Powers et al. 2022, eq. 1."""
    change = _changes(results)
    return mean(change[np.triu_indices(len(change), 1)])


FORGETTING_CORA = Metric("forgetting.cora", forgetting_cora, better="lower", range=(-2.0, 2.0), topic="forgetting")


def forward_transfer_cora(results: Results) -> float:
    """Compute the mean over i > j of (r_i after j - r_i before j) / max |r_i|. Source: Powers et al. 2022, eq. 2."""
    change = _changes(results)
    return mean(-change[np.tril_indices(len(change), -1)])


FORWARD_TRANSFER_CORA = Metric("forward_transfer.cora", forward_transfer_cora, range=(-2.0, 2.0), topic="transfer")


def _changes(results: Results) -> Array:
    """Return the loss of performance on task i during training on j at [i, j], relative to the maximum |r_i|.

    Only the first cycle counts, as in the authors' code (AGI-Labs/continual_rl): the visits up to the first repeated
    one. Not defined if a task is first visited later.
    """
    visited = visits_of(results, min_tasks=2)
    if len(set(visited.visits[: len(visited.tasks)])) < len(visited.tasks):
        raise Undefined("a task is visited again before all tasks have been visited once")
    cycle = list(visited.visits[: len(visited.tasks)])
    width = visited.matrix.shape[1]
    rows = np.vstack([widened(results.before, width)[:width], visited.matrix])[:, cycle]
    maximum = np.nan_to_num(np.abs(rows)).max(0)
    rows = rows[: len(cycle) + 1]
    change = (rows[:-1] - rows[1:]).T
    scaled: Array = change / np.where(maximum > 0, maximum, np.nan)[:, None]
    return scaled
