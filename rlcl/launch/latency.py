"""Latency of a prediction for one input."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from rlcl.data.environments.action_masks import action_masks
from rlcl.errors import UnseenTaskError
from rlcl.seeding import preserved_global_state
from rlcl.training.trainer import Trainer
from rlcl.types import masks_actions

__all__ = ["latency_ms"]

REPEATS = 51


def latency_ms(trainer: Trainer) -> float | None:
    """Measure the median time of a prediction for one test input of the first experience, including its encoding.

    Args:
        trainer: a trainer whose learner has started learning; its state does not change.

    Returns:
        Milliseconds; None if the learner cannot predict yet.
    """
    with preserved_global_state():
        try:
            predict = _make_predict(trainer)
            predict()  # the first prediction is slower, so it is not timed
        except UnseenTaskError:
            return None
        times = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            predict()
            times.append(time.perf_counter() - started)
    return 1000 * median(times)


def _make_predict(trainer: Trainer) -> Callable[[], Any]:
    """Return a function that makes one prediction for one input."""
    experience = trainer.stream.evaluated[0]
    task_id = experience.task_id if trainer.stream.visibility.at_evaluation else None
    learner, source = trainer.learner, experience.test
    assert source is not None
    if source.kind == "arrays":
        x, _ = source.subset(torch.zeros(1, dtype=torch.int64)).read()
        return lambda: learner.predict(x, task_id)
    vector = source.make_vector(1)
    try:
        observations, info = vector.reset(seed=source.seed)
        masking = masks_actions(learner)
        allowed: dict[str, Any] = {"action_masks": action_masks(vector, info)} if masking else {}
    finally:
        vector.close()
    return lambda: learner.predict(observations, task_id, None, **allowed)
