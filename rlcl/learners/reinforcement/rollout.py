"""What happens in environments while a policy acts, a few steps at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from attrs import define

from rlcl.learners.reinforcement.collecting import Collector

__all__ = ["Rollout", "rolled_out"]

Array = np.ndarray[Any, Any]


@define(eq=False)
class Rollout:
    """T steps in each of N environments.

    Args:
        observations: (T, N, *encoded) float32 states acted in.
        actions: (T * N, *action) as drawn.
        masks: (T * N, K) bool actions allowed; None where all were.
        rewards: (T, N) float32.
        terminated, ended: (T, N) bool; see :class:`rlcl.learners.reinforcement.collecting.Step`.
        last: (N, *encoded) states after the last step.
        cut: (C, *encoded) states at which episodes were cut off.
        places: two arrays (C,) of the steps and environments of ``cut``.
    """

    observations: Array
    actions: Array
    masks: Array | None
    rewards: Array
    terminated: Array
    ended: Array
    last: Array
    cut: Array
    places: tuple[Array, Array]

    @property
    def states(self) -> Array:
        """((T + 1) * N + C, *encoded): those acted in, the last ones, and those at which episodes were cut off."""
        acted = self.observations.reshape(-1, *self.observations.shape[2:])
        return np.concatenate([acted, self.last, self.cut])

    def values_and_next(self, values: Array) -> tuple[Array, Array]:
        """(T, N) of the states acted in and of those that followed, from values of :attr:`states`."""
        steps, count = self.rewards.shape
        along = values[: (steps + 1) * count].reshape(steps + 1, count)
        following = along[1:].copy()
        following[self.places] = values[(steps + 1) * count :]
        return along[:-1], following


def rolled_out(
    collector: Collector,
    observations: Array,
    draw: Callable[[Array, Array | None], Array],
    for_environment: Callable[[Array], Array],
) -> Rollout:
    """Acts for T steps in each of N environments.

    Args:
        collector: the environments at work.
        observations: (T, N, *encoded) float32, to be filled.
        draw: from states (N, *encoded) and what is allowed to actions (N, *action).
        for_environment: actions as the environments take them.
    """
    steps, count = observations.shape[:2]
    rewards = np.empty((steps, count), np.float32)
    terminated, ended = np.empty((steps, count), bool), np.empty((steps, count), bool)
    actions, masks, cut, places = [], [], [observations[0, :0]], []
    for t in range(steps):
        observations[t] = collector.encode(collector.observations)
        allowed = collector.masks
        drawn = draw(observations[t], allowed)
        step = collector.step(for_environment(drawn))
        actions.append(drawn)
        masks.append(allowed)
        rewards[t], terminated[t], ended[t] = step.rewards, step.terminated, step.ended
        off = np.flatnonzero(step.ended & ~step.terminated)
        if len(off):  # encoded now, by the statistics of now
            cut.append(collector.encode(step.following[off]))
            places.append((np.full(len(off), t), off))
    return Rollout(
        observations,
        np.concatenate(actions),
        _joined(masks),
        rewards,
        terminated,
        ended,
        collector.encode(collector.observations),
        np.concatenate(cut),
        tuple(np.concatenate([p[i] for p in places]) if places else np.empty(0, np.int64) for i in (0, 1)),  # type: ignore[arg-type]
    )


def _joined(masks: Sequence[Array | None]) -> Array | None:
    """(T * N, K) bool; all True of the states before the first of which something was told, None without one."""
    told = next((mask for mask in masks if mask is not None), None)
    return None if told is None else np.concatenate([np.ones_like(told) if mask is None else mask for mask in masks])
