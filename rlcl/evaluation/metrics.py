"""Metrics of continual learning, each a pure function of one run's results.

R[t, j] is the performance on experience j after training on experience t, higher being better.
A cell that was not measured is NaN: a mean leaves it out, a maximum or minimum looks at the others.
A metric that a run does not define (forgetting after one experience, transfer without what was
measured before) is None.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlcl.evaluation.results import Array, Results, measure_named

__all__ = [
    "average",
    "backward_transfer",
    "forgetting_chaudhry",
    "forgetting_cora",
    "forgetting_cw",
    "forward_transfer_cora",
    "forward_transfer_gem",
    "incremental",
    "learning",
    "minimum",
    "online",
    "worst_case",
]


def average(results: Results) -> float | None:
    """mean_j R[T-1, j]; not defined where a cell of that row is absent. Source: Lopez-Paz & Ranzato 2017, ACC."""
    matrix = results.R
    return _mean(matrix[-1]) if len(matrix) and not np.isnan(matrix[-1]).any() else None


def incremental(results: Results) -> float | None:
    """Mean over t of mean_{j<=t} R[t, j]: over experiences; Rebuffi et al. 2017 weigh by samples.

    Not defined where a boundary was not evaluated at all.
    """
    matrix = _square(results)
    return (
        None
        if matrix is None or np.isnan(matrix).all(1).any()
        else _mean([_mean(row[: t + 1]) for t, row in enumerate(matrix)])
    )


def learning(results: Results) -> float | None:
    """mean_j R[j, j]; not defined where a boundary was not evaluated at all. Source: Riemer et al. 2019, LA."""
    matrix = _square(results)
    return None if matrix is None or np.isnan(matrix).all(1).any() else _mean(np.diag(matrix))


def backward_transfer(results: Results) -> float | None:
    """mean_{j<T-1} (R[T-1, j] - R[j, j]). Source: Lopez-Paz & Ranzato 2017, BWT."""
    matrix = _square(results, least=2)
    return None if matrix is None else _mean((matrix[-1] - np.diag(matrix))[:-1])


def forward_transfer_gem(results: Results) -> float | None:
    """mean_{j>0} (R[j-1, j] - before[j]). Source: Lopez-Paz & Ranzato 2017, FWT."""
    matrix = _square(results, least=2)
    return None if matrix is None else _mean(np.diag(matrix, 1) - results.before[1:])


def forgetting_chaudhry(results: Results) -> float | None:
    """mean_{j<T-1} (max_{0<=l<T-1} R[l, j] - R[T-1, j]). Source: Chaudhry et al. 2018, eq. 3."""
    matrix = _square(results, least=2)
    if matrix is None:
        return None
    earlier = matrix[:-1, :-1]
    measured = ~np.isnan(earlier).all(0)
    return _mean(np.nanmax(earlier[:, measured], 0) - matrix[-1, :-1][measured])


def forgetting_cw(results: Results) -> float | None:
    """mean_j (R[j, j] - R[T-1, j]), the last experience, which is always 0, included; for R in [0, 1].

    Source: Wolczyk et al. 2021, Continual World, section 4.1.
    """
    matrix = _square(results, least=2)
    if matrix is None or (matrix < 0).any() or (matrix > 1).any():
        return None
    lost = np.diag(matrix) - matrix[-1]
    return None if np.isnan(lost[:-1]).all() else _mean(lost)  # the last one's 0 alone says nothing


def forgetting_cora(results: Results) -> float | None:
    """Mean over i < j of (r_i before j - r_i after j) / max |r_i|. Source: Powers et al. 2022, eq. 1."""
    change = _changes(results)
    return None if change is None else _mean(change[np.triu_indices(len(change), 1)])


def forward_transfer_cora(results: Results) -> float | None:
    """Mean over i > j of (r_i after j - r_i before j) / max |r_i|. Source: Powers et al. 2022, eq. 2."""
    change = _changes(results)
    return None if change is None else _mean(-change[np.tril_indices(len(change), -1)])


def minimum(results: Results) -> float | None:
    """At the end: mean_{j<T-1} of the least performance on j at any evaluation after its training.

    Evaluations within experiences count too (``evaluation.every: {updates: N}``): they see the
    stability gap that those at the boundaries miss.

    Source: De Lange et al. 2023, min-ACC, eq. 2.
    """
    matrix = _square(results, least=2)
    if matrix is None:
        return None
    last = len(matrix) - 1
    lows = [results.after(j, last) for j in range(last)]
    return _mean([np.fmin.reduce(low) for low in lows if len(low)])


def worst_case(results: Results) -> float | None:
    """R[T-1, T-1] / T + (1 - 1 / T) min-ACC. Source: De Lange et al. 2023, WC-ACC, eq. 3."""
    matrix, low = _square(results, least=2), minimum(results)
    if matrix is None or low is None:
        return None
    return float(matrix[-1, -1] / len(matrix) + (1 - 1 / len(matrix)) * low)


def online(results: Results) -> float | None:
    """Mean over all training examples of how well each was predicted before the update that it served.

    Of the records of ``evaluation.online``, each experience weighed by its samples; not defined without them.

    Source: Gama et al. 2013, On evaluating stream learning algorithms, section 3 (prequential).
    """
    name = f"{measure_named(results.measure).name}.online"
    values = {r.trained_on: r.value for r in results.records if r.metric == name}
    samples = {r.trained_on: r.value for r in results.records if r.metric == "samples"}
    weights = {t: samples.get(t, 1.0) for t in values}
    total = sum(weights.values())
    return results.sign * sum(weights[t] * values[t] for t in values) / total if total else None


def _changes(results: Results) -> Array | None:
    """[i, j]: how much of experience i is lost while j is trained on, relative to the largest |r_i|."""
    matrix = _square(results, least=2)
    if matrix is None:
        return None
    rows = np.vstack([results.before, matrix])
    largest = np.nan_to_num(np.abs(rows)).max(0)
    change = (rows[:-1] - rows[1:]).T
    scaled: Array = change / np.where(largest > 0, largest, np.nan)[:, None]
    return scaled


def _square(results: Results, least: int = 1) -> Array | None:
    """R where each experience was both trained on and evaluated, and there are enough of them."""
    matrix = results.R
    return matrix if len(matrix) >= least and matrix.shape[0] == matrix.shape[1] else None


def _mean(values: Any) -> float | None:
    known = np.array([v for v in np.ravel(np.asarray(values, dtype=np.float64)) if not np.isnan(v)])
    return float(known.mean()) if len(known) else None
