"""Scores and latency of a bundle's model on held-out samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from rlcl.data.sources import read_chunks
from rlcl.deploy.model import Model, PolicyModel
from rlcl.evaluation.episodes import run_episodes
from rlcl.evaluation.measures import source_of
from rlcl.evaluation.plan import Plan
from rlcl.types import Experience, Source

__all__ = ["held_out_scores", "latency", "row_scores"]

Array = np.ndarray[Any, Any]
LATENCY_CALLS = 200


def held_out_scores(model: Model, experience: Experience, plan: Plan) -> Array:
    """Return one score (N,) per held-out sample; higher is better.

    The score is 1 for a correct and 0 for a wrong class, the negated mean squared error of predicted numbers or of a
    reconstruction, or the return of an episode with a separate seed.

    Args:
        model: model of a bundle.
        experience: experience with held-out data or an environment.
        plan: evaluation plan, which selects the split and the number of episodes.
    """
    source = source_of(experience, plan)
    task = experience.task_id if model.signature.tasks else None
    if source.kind == "environment":
        assert isinstance(model, PolicyModel)
        return run_episodes(_EvaluatedPolicy(model), source, plan.episodes, plan.episode_steps, task).returns
    if task is not None and task >= model.signature.tasks:
        return np.zeros(len(source))  # an unknown task: every prediction counts as wrong
    return np.concatenate([row_scores(model, x.numpy(), y, task) for x, y in read_chunks(source)])


def row_scores(model: Model, x: Array, y: Any, task: int | None) -> Array:
    """Return the scores (N,) of rows (N, *shape) with their labels; see :func:`held_out_scores`."""
    outputs = model.run(model.signature.arrays(x, task))
    if model.signature.kind == "classifier":
        correct: Array = outputs["class"] == y.numpy()
        return correct.astype(np.float64)
    if model.signature.kind == "autoencoder":
        return -outputs["error"].astype(np.float64)
    errors: Array = np.square(outputs["value"].astype(np.float64) - y.numpy().reshape(outputs["value"].shape))
    means: Array = errors.reshape(len(errors), -1).mean(1)
    return -means


@frozen
class _EvaluatedPolicy:
    """Policy with the learner interface that the evaluation of episodes calls."""

    policy: PolicyModel
    measures = ("return",)

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        return self.policy.predict(x, state, task_id=task_id)


def latency(before: Model, after: Model, experience: Experience, plan: Plan) -> tuple[float, float]:
    """Return the median latency in milliseconds of one-row predictions of both models, measured alternately.

    Args:
        before, after: models of the deployed bundle and of the candidate.
        experience: experience with inputs or an environment.
        plan: evaluation plan, which selects the split.
    """
    import time

    source = source_of(experience, plan)
    rows = [m.signature.arrays(_first_input(source), _task_id(m, experience)) for m in (before, after)]
    for model, row in zip((before, after), rows, strict=True):
        for part in model.signature.state:
            row[part.name] = np.zeros((1, *part.shape), part.dtype)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(LATENCY_CALLS):
        for model, row, durations in zip((before, after), rows, seconds, strict=True):
            start = time.perf_counter()
            model.run(row)
            durations.append(time.perf_counter() - start)
    first, second = (float(np.median(durations)) * 1000 for durations in seconds)
    return first, second


def _task_id(model: Model, experience: Experience) -> int | None:
    return min(experience.task_id or 0, model.signature.tasks - 1) if model.signature.tasks else None


def _first_input(source: Source) -> Any:
    """Return a batch of the first held-out row, or of the first observation of the environment."""
    if source.kind == "arrays":
        return next(read_chunks(source))[0][:1].numpy()
    vector = source.make_vector(1)
    try:
        return vector.reset(seed=source.seed)[0]
    finally:
        vector.close()
