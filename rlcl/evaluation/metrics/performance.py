"""Metrics of performance, defined for every measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlcl.evaluation.metrics.metric import Metric, Undefined
from rlcl.evaluation.metrics.visits import check_boundaries, mean, visits_of

if TYPE_CHECKING:
    from rlcl.evaluation.results import Results

__all__ = ["AVERAGE", "INCREMENTAL", "LEARNING", "MIN", "ONLINE", "WORST_CASE"]


def average(results: Results) -> float:
    """Compute mean_j R[T-1, j]; not defined if an entry is missing. Source: Lopez-Paz & Ranzato 2017, ACC."""
    matrix = results.R
    if not len(matrix) or np.isnan(matrix[-1]).any():
        raise Undefined("the last row of R is not complete; set evaluation.on: all")
    return mean(matrix[-1])


AVERAGE = Metric("average", average, range="performance", scope="measure")


def incremental(results: Results) -> float:
    """Compute the mean over t of mean_{j<=t} R[t, j]; not defined if a boundary was not evaluated.

    With repeated visits, t counts visits, and the inner mean is over the tasks visited up to t.

    Source: Rebuffi et al. 2017, average incremental accuracy. The paper weights experiences by their samples; here all
    experiences have the same weight. The paper has no repeated visits.
    """
    visited = visits_of(results)
    check_boundaries(visited)
    rows = [row[sorted(set(visited.visits[: t + 1]))] for t, row in enumerate(visited.matrix)]
    return mean([mean(row) for row in rows if not np.isnan(row).all()])


INCREMENTAL = Metric("incremental", incremental, range="performance", scope="measure")


def learning(results: Results) -> float:
    """Compute mean_j R[j, j]; not defined if a boundary was not evaluated. Source: Riemer et al. 2019, LA."""
    visited = visits_of(results)
    check_boundaries(visited)
    return mean(visited.learned)


LEARNING = Metric("learning", learning, range="performance", scope="measure")


def minimum(results: Results) -> float:
    """Compute the mean over j < T-1 of the minimum performance on j at any evaluation after its training.

    Evaluations within experiences are included (``evaluation.every: {updates: N}``). They include temporary drops of
    the performance after a boundary (the stability gap), which evaluations at the boundaries miss.

    Source: De Lange et al. 2023, min-ACC, eq. 2.
    """
    visited = visits_of(results, min_tasks=2)
    last = len(visited.matrix) - 1
    performances = [results.since(row, task) for task, row in visited.last.items() if row < last]
    return mean([np.fmin.reduce(values) for values in performances if len(values)])


MIN = Metric("min", minimum, range="performance", scope="measure", within=True)


def worst_case(results: Results) -> float:
    """Compute R[T-1, T-1] / T + (1 - 1 / T) min-ACC, T tasks. Source: De Lange et al. 2023, WC-ACC, eq. 3."""
    visited, min_accuracy = visits_of(results, min_tasks=2), minimum(results)
    count = len(visited.tasks)
    return float(visited.matrix[-1, visited.visits[-1]] / count + (1 - 1 / count) * min_accuracy)


WORST_CASE = Metric("worst_case", worst_case, range="performance", scope="measure", within=True)


def online(results: Results) -> float:
    """Compute the mean online score: the score of each training example before the update that uses it.

    It is computed from the records of ``evaluation.online``, with each experience weighted by its samples, and is not
    defined without these records.

    Source: Gama et al. 2013, On evaluating stream learning algorithms, section 3 (prequential).
    """
    values = {r.trained_on: r.value for r in results.records if r.metric == results.online}
    samples = {r.trained_on: r.value for r in results.records if r.metric == "samples"}
    weights = {t: samples.get(t, 1.0) for t in values}
    total = sum(weights.values())
    if not total:
        raise Undefined("there are no online scores; set evaluation.online: true")
    return results.sign * sum(weights[t] * values[t] for t in values) / total


ONLINE = Metric("online", online, range="performance", scope="measure")
