"""Scores of a bundle's model, sample by sample, on what nothing was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from rlcl.data.sources import pieces
from rlcl.deploy.model import Model, Policy
from rlcl.evaluation.episodes import episode_returns
from rlcl.evaluation.measures import source_of
from rlcl.evaluation.plan import Plan
from rlcl.types import Experience, Source

__all__ = ["latency", "scores", "scores_of"]

Array = np.ndarray[Any, Any]
LATENCY_CALLS = 200


def scores(model: Model, experience: Experience, plan: Plan) -> Array:
    """(N,) one score a held-out sample, higher being better.

    Whether a class is right (0 or 1), the negated mean squared error of predicted numbers or of a reconstruction, or
    the return of an episode under a seed of its own.

    Args:
        model: of a bundle.
        experience: whose held-out data, or environment.
        plan: names the split, and how many episodes there are.
    """
    source = source_of(experience, plan)
    task = experience.task_id if model.signature.tasks else None
    if source.kind == "environment":
        assert isinstance(model, Policy)
        return episode_returns(_Acting(model), source, plan.episodes, plan.episode_steps, task)
    if task is not None and task >= model.signature.tasks:
        return np.zeros(len(source))  # a task that a classifier does not know: it gets nothing right
    return np.concatenate([scores_of(model, x.numpy(), y, task) for x, y in pieces(source)])


def scores_of(model: Model, x: Array, y: Any, task: int | None) -> Array:
    """(N,) scores of rows (N, *shape) with their labels, as of :func:`scores`."""
    found = model.run(model.signature.arrays(x, task))
    if model.signature.kind == "classifier":
        right: Array = found["class"] == y.numpy()
        return right.astype(np.float64)
    if model.signature.kind == "autoencoder":
        return -found["error"].astype(np.float64)
    errors: Array = np.square(found["value"].astype(np.float64) - y.numpy().reshape(found["value"].shape))
    means: Array = errors.reshape(len(errors), -1).mean(1)
    return -means


@frozen
class _Acting:
    """A policy as evaluation asks for it."""

    policy: Policy
    measures = ("return",)

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        return self.policy.predict(x, state, task_id=task_id)


def latency(before: Model, after: Model, experience: Experience, plan: Plan) -> tuple[float, float]:
    """Median milliseconds of a prediction for one row, of both models in turns.

    Args:
        before, after: of the deployed bundle and of the candidate.
        experience: whose inputs, or environment.
        plan: names the split.
    """
    import time

    source = source_of(experience, plan)
    rows = [m.signature.arrays(_one(m, source), _task(m, experience)) for m in (before, after)]
    for model, row in zip((before, after), rows, strict=True):
        for part in model.signature.state:
            row[part.name] = np.zeros((1, *part.shape), part.dtype)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(LATENCY_CALLS):
        for model, row, taken in zip((before, after), rows, seconds, strict=True):
            started = time.perf_counter()
            model.run(row)
            taken.append(time.perf_counter() - started)
    first, second = (float(np.median(taken)) * 1000 for taken in seconds)
    return first, second


def _task(model: Model, experience: Experience) -> int | None:
    return min(experience.task_id or 0, model.signature.tasks - 1) if model.signature.tasks else None


def _one(model: Model, source: Source) -> Any:
    if source.kind == "arrays":
        return next(pieces(source))[0][:1].numpy()
    vector = source.make_vector(1)
    try:
        return vector.reset(seed=source.seed)[0]
    finally:
        vector.close()
