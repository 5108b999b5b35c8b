"""Rollouts of a policy in parallel environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from attrs import define

from rlcl.learners.reinforcement.collector import Collector

__all__ = ["Rollout", "collect_rollout"]

Array = np.ndarray[Any, Any]


@define(eq=False)
class Rollout:
    """T steps in each of N environments.

    Args:
        observations: (T, N, *encoded) float32 observations before each step.
        actions: (T * N, *action) as sampled.
        masks: (T * N, K) bool, allowed actions; None if no masks were provided.
        rewards: (T, N) float32.
        terminated, ended: (T, N) bool; see :class:`rlcl.learners.reinforcement.collector.StepResult`.
        last: (N, *encoded) observations after the last step.
        cut: (C, *encoded) last observations of truncated episodes.
        indices: time steps (C,) and environments (C,) of ``cut``.
    """

    observations: Array
    actions: Array
    masks: Array | None
    rewards: Array
    terminated: Array
    ended: Array
    last: Array
    cut: Array
    indices: tuple[Array, Array]

    @property
    def states(self) -> Array:
        """((T + 1) * N + C, *encoded) all states whose values are needed: ``observations``, ``last`` and ``cut``."""
        observations = self.observations.reshape(-1, *self.observations.shape[2:])
        return np.concatenate([observations, self.last, self.cut])

    @property
    def next_observations(self) -> Array:
        """(T, N, *encoded) observations after each step; of a truncated episode before the reset."""
        following = np.concatenate([self.observations[1:], self.last[None]])
        following[self.indices] = self.cut
        return following

    def values_and_next(self, values: Array) -> tuple[Array, Array]:
        """Arrange values of :attr:`states` by time step and environment.

        Args:
            values: ((T + 1) * N + C,) values of :attr:`states`.

        Returns:
            Values (T, N) of ``observations`` and values (T, N) of the next states. The next state of a truncated
            episode is its last state, before the reset.
        """
        steps, count = self.rewards.shape
        by_step = values[: (steps + 1) * count].reshape(steps + 1, count)
        next_values = by_step[1:].copy()
        next_values[self.indices] = values[(steps + 1) * count :]
        return by_step[:-1], next_values


def collect_rollout(
    collector: Collector,
    observations: Array,
    select_actions: Callable[[Array, Array | None], Array],
    for_environment: Callable[[Array], Array],
) -> Rollout:
    """Collect T steps in each of N environments.

    Args:
        collector: training environments.
        observations: (T, N, *encoded) float32 array that is filled with the observations before each step.
        select_actions: maps observations (N, *encoded) and masks (N, K) or None to actions (N, *action).
        for_environment: converts these actions to the environment's action space.
    """
    steps, count = observations.shape[:2]
    rewards = np.empty((steps, count), np.float32)
    terminated, ended = np.empty((steps, count), bool), np.empty((steps, count), bool)
    actions, masks, cut, indices = [], [], [observations[0, :0]], []
    for t in range(steps):
        observations[t] = collector.encode(collector.observations)
        mask = collector.masks
        selected = select_actions(observations[t], mask)
        step = collector.step(for_environment(selected))
        actions.append(selected)
        masks.append(mask)
        rewards[t], terminated[t], ended[t] = step.rewards, step.terminated, step.ended
        truncated = np.flatnonzero(step.ended & ~step.terminated)
        if len(truncated):  # encoded with the statistics of this step
            cut.append(collector.encode(step.next_observations[truncated]))
            indices.append((np.full(len(truncated), t), truncated))
    return Rollout(
        observations,
        np.concatenate(actions),
        _concatenate_masks(masks),
        rewards,
        terminated,
        ended,
        collector.encode(collector.observations),
        np.concatenate(cut),
        tuple(np.concatenate([p[i] for p in indices]) if indices else np.empty(0, np.int64) for i in (0, 1)),  # type: ignore[arg-type]
    )


def _concatenate_masks(masks: Sequence[Array | None]) -> Array | None:
    """Return masks (T * N, K), all True for steps without masks; None if no step has masks."""
    first = next((mask for mask in masks if mask is not None), None)
    return None if first is None else np.concatenate([np.ones_like(first) if mask is None else mask for mask in masks])
