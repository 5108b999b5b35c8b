"""Learning curves from the records of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlcl.comparison.bands import Band, band_over_seeds
from rlcl.comparison.run_scores import RunScore
from rlcl.errors import RunFolderError
from rlcl.evaluation.results import Results
from rlcl.tracking.folder import read_records
from rlcl.types import Record

__all__ = ["average_band", "learning_curve", "record_band"]

Array = np.ndarray[Any, Any]


def learning_curve(run_scores: Sequence[RunScore]) -> tuple[Array, Array]:
    """Return the learning curves of one learner on one stream.

    The curves have the first T evaluations, where T is the minimum over the runs. Steps are means over the runs,
    because runs may differ by up to one rollout.

    Args:
        run_scores: runs of the learner, one per seed; runs with damaged records are skipped.

    Returns:
        Steps (T,), and values (T, N): the mean of the measure over the evaluated experiences, where higher is better.
    """
    curves = [curve for score in run_scores if (curve := _evaluations(score)) is not None]
    length = min((len(curve) for curve in curves), default=0)
    if not length:
        return np.empty(0), np.empty((0, len(curves)))
    table = np.array([curve[:length] for curve in curves])  # (N, T, 2)
    return table[:, :, 0].mean(0), table[:, :, 1].T


def _evaluations(score: RunScore) -> list[tuple[float, float]] | None:
    """Return (step, mean over experiences) of each evaluation in order; None if the records cannot be read."""
    try:
        results = Results(read_records(score.run.path), score.meaning.measure)
    except RunFolderError:
        return None
    values: dict[tuple[int, int], list[float]] = {}
    for record in results.rows:
        values.setdefault((record.step, record.trained_on), []).append(results.sign * record.value)
    return [(float(step), float(np.mean(group))) for (step, _), group in sorted(values.items())]


def average_band(results: Sequence[Results], experiences: int, points: int) -> Band | None:
    """Return the band of a measure as recorded, mean over all experiences, by step.

    Only steps count at which all experiences are evaluated. The result is None if there are none.

    Args:
        results: results of each seed.
        experiences: number of experiences that are evaluated.
        points: maximum number of points.
    """
    curves = []
    for seed_results in results:
        by_step: dict[int, dict[int, float]] = {}
        for r in seed_results.rows:
            by_step.setdefault(r.step, {})[r.evaluated_on] = r.value
        complete = {step: values for step, values in sorted(by_step.items()) if len(values) == experiences}
        means = [float(np.mean(list(values.values()))) for values in complete.values()]
        curves.append((np.array(list(complete)), np.array(means)))
    return band_over_seeds(curves, points)


def record_band(seeds: Sequence[Sequence[Record]], metric: str, experience: int | None, points: int) -> Band | None:
    """Return the band of the records with one name, by step; None if there are none.

    Args:
        seeds: records of each seed.
        metric: name of the records.
        experience: index of the evaluated experience; None for any experience.
        points: maximum number of points.
    """
    curves = []
    for records in seeds:
        rows = [r for r in records if r.metric == metric and experience in (None, r.evaluated_on)]
        last = {r.step: r.value for r in rows}
        curves.append((np.array(list(last), dtype=np.float64), np.array(list(last.values()))))
    sorted_curves = [(steps[np.argsort(steps)], values[np.argsort(steps)]) for steps, values in curves]
    return band_over_seeds(sorted_curves, points)
