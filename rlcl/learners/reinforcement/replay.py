"""Replay buffer in contiguous, preallocated arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field, frozen

__all__ = ["ReplayBuffer", "SampledTransitions"]

Array = np.ndarray[Any, Any]


@frozen(eq=False)
class SampledTransitions:
    """B n-step transitions.

    Each transition covers k <= n steps of one episode; k < n only near the end of the episode.

    Args:
        observations: (B, *observation) raw.
        actions: (B, *action).
        rewards: (B,) float32, the sum of ``gamma^i r_{t+i}`` over the k steps.
        next_observations: (B, *observation) raw, k steps later.
        discounts: (B,) float32, ``gamma^k``; 0 if that state is terminal.
        indices: (B,) int64 rows of the buffer.
        masks: (B, K) bool, actions allowed in ``next_observations``; None if no masks have been added.
        task_ids: (B,) int64; None if no task ids have been added.
    """

    observations: Array
    actions: Array
    rewards: Array
    next_observations: Array
    discounts: Array
    indices: Array
    masks: Array | None
    task_ids: Array | None = None


@define(eq=False)
class ReplayBuffer:
    """Replay buffer with a separate ring for each of N environments.

    A ring stores observations in order of time, and the last observation of an episode in an additional row. The next
    observation of a row is therefore the next row, and no observation is stored twice. Action masks are stored from the
    first mask on, and task ids from the first id on.

    Args:
        capacity: rows over all environments; rounded down to a multiple of N, at least three per environment.
        num_envs: number N of environments.
        shape, dtype: of one raw observation.
        action_shape, action_dtype: of one action.
    """

    capacity: int
    num_envs: int
    shape: tuple[int, ...]
    dtype: Any
    action_shape: tuple[int, ...]
    action_dtype: Any
    _rows: int = field(init=False)  # rows of one ring
    arrays: dict[str, Array] = field(init=False)
    written: Array = field(init=False)  # (N,) rows written to each ring in total

    def __attrs_post_init__(self) -> None:
        # An episode of one step takes two rows, and the row after it is free.
        self._rows = max(self.capacity // self.num_envs, 3)
        size = self._rows * self.num_envs
        self.arrays = {
            "observations": np.zeros((size, *self.shape), self.dtype),
            "actions": np.zeros((size, *self.action_shape), self.action_dtype),
            "rewards": np.zeros(size, np.float32),
            "terminated": np.zeros(size, bool),
            "ended": np.zeros(size, bool),
            "valid": np.zeros(size, bool),  # whether a row is a transition with a next observation
        }
        self.written = np.zeros(self.num_envs, np.int64)

    def __len__(self) -> int:
        """Return the number of transitions."""
        return int(np.count_nonzero(self.arrays["valid"]))

    @property
    def rows(self) -> int:
        """Number of rows of all rings."""
        return self._rows * self.num_envs

    @property
    def valid(self) -> Array:
        """(rows,) bool, whether a row is a transition."""
        return self.arrays["valid"]

    @property
    def bytes(self) -> int:
        """Size of the arrays in bytes, including rows that are not yet written."""
        return sum(array.nbytes for array in self.arrays.values()) + self.written.nbytes

    @property
    def unwritten_bytes(self) -> int:
        """Size of the rows that are not yet written, for which the system has not yet allocated memory."""
        filled = min(int(self.written.max()) + 1, self._rows)
        return int(self.bytes * (1 - filled / self._rows))

    def add(
        self,
        observations: Array,
        actions: Array,
        rewards: Array,
        next_observations: Array,
        terminated: Array,
        ended: Array,
        masks: Array | None = None,
        task_id: int | None = None,
    ) -> Array:
        """Add one transition of each environment; the oldest rows are overwritten.

        Args:
            observations: (N, *observation) before the step.
            actions: (N, *action).
            rewards: (N,).
            next_observations: (N, *observation) after the step; of a finished episode before the reset.
            terminated: (N,) bool, whether the next states are terminal.
            ended: (N,) bool, whether the episode is finished, terminated or truncated.
            masks: (N, K) bool, actions allowed in ``next_observations``; None if all are.
            task_id: task of the environments; None if it is hidden.

        Returns:
            (N,) int64 indices of the transitions.
        """
        arrays, base = self.arrays, np.arange(self.num_envs) * self._rows
        indices: Array = base + self.written % self._rows
        successors = base + (self.written + 1) % self._rows
        arrays["observations"][indices] = observations
        arrays["actions"][indices] = actions
        arrays["rewards"][indices] = rewards
        arrays["terminated"][indices] = terminated
        arrays["ended"][indices] = ended
        arrays["valid"][indices] = True
        arrays["observations"][successors] = next_observations
        arrays["valid"][successors] = False
        if masks is not None and "masks" not in arrays:
            arrays["masks"] = np.ones((len(self.valid), masks.shape[1]), bool)
        if "masks" in arrays:
            arrays["masks"][successors] = True if masks is None else masks
        if task_id is not None:
            if "task_ids" not in arrays:
                arrays["task_ids"] = np.zeros(len(self.valid), np.int64)
            arrays["task_ids"][indices] = arrays["task_ids"][successors] = task_id
        # The last observation of a finished episode keeps its row; the next episode starts after it.
        self.written += 1 + ended
        arrays["valid"][base + self.written % self._rows] = False
        return indices

    def interrupt(self) -> None:
        """Truncate the current episodes: the next transitions start new episodes."""
        base = np.arange(self.num_envs) * self._rows
        last = base + (self.written - 1) % self._rows
        running = (self.written > 0) & self.valid[last]
        self.arrays["ended"][last[running]] = True
        self.written += running
        self.valid[(base + self.written % self._rows)[running]] = False

    def sample_indices(self, count: int, rng: np.random.Generator) -> Array:
        """Sample indices (count,) of transitions uniformly with replacement; the buffer must not be empty."""
        valid = self.arrays["valid"]
        filled = min(int(self.written.max()), self._rows)
        indices = self._random_rows(count, filled, rng)
        missing = np.flatnonzero(~valid[indices])
        while len(missing):
            indices[missing] = self._random_rows(len(missing), filled, rng)
            missing = missing[~valid[indices[missing]]]
        return indices

    def _random_rows(self, count: int, filled: int, rng: np.random.Generator) -> Array:
        rows: Array = rng.integers(filled, size=count)
        return rows if self.num_envs == 1 else rows + rng.integers(self.num_envs, size=count) * self._rows

    def at(self, indices: Array, gamma: float, n: int = 1) -> SampledTransitions:
        """Return the n-step transitions that start at the indices.

        A transition covers fewer than n steps if its episode is finished earlier or its later steps are not yet stored.

        Args:
            indices: (B,) int64 of transitions.
            gamma: discount factor.
            n: maximum number of steps.

        Source: Sutton 1988; Hessel et al. 2018, Rainbow, section 3, multi-step learning.
        """
        arrays = self.arrays
        rewards, last, steps = arrays["rewards"][indices], indices, np.ones(len(indices), np.float32)
        running = ~arrays["ended"][indices]
        for i in range(1, n):
            if not running.any():  # n may be much larger than the length of episodes
                break
            following = self._successors(last)
            running &= arrays["valid"][following]
            rewards = rewards + np.where(running, np.float32(gamma**i) * arrays["rewards"][following], np.float32(0))
            last = np.where(running, following, last)
            steps += running
            running &= ~arrays["ended"][following]
        discounts = (np.float32(gamma) ** steps) * ~arrays["terminated"][last]
        successors, masks, task_ids = self._successors(last), arrays.get("masks"), arrays.get("task_ids")
        return SampledTransitions(
            arrays["observations"].take(indices, 0),
            arrays["actions"].take(indices, 0),
            rewards,
            arrays["observations"].take(successors, 0),
            discounts.astype(np.float32, copy=False),
            indices,
            None if masks is None else masks.take(successors, 0),
            None if task_ids is None else task_ids.take(indices, 0),
        )

    def _successors(self, indices: Array) -> Array:
        successors = indices + 1
        return np.where(successors % self._rows == 0, successors - self._rows, successors)

    def newest(self, count: int) -> Array:
        """Return the newest observations (M, *observation), M <= count, the same number of each environment."""
        return self.arrays["observations"].take(self._newest_rows(count), 0)

    def newest_transitions(self, count: int) -> Array:
        """Return indices (M,) of those of the newest rows that are transitions, M <= count."""
        rows = self._newest_rows(count)
        return rows[self.valid[rows]]

    def _newest_rows(self, count: int) -> Array:
        per_ring = int(min(max(count // self.num_envs, 1), self.written.min(), self._rows))
        rows = (self.written[:, None] - 1 - np.arange(per_ring)) % self._rows
        indices: Array = (rows + np.arange(self.num_envs)[:, None] * self._rows).reshape(-1)
        return indices

    def clear(self) -> None:
        """Remove all transitions."""
        self.arrays["valid"][:] = False
        self.written[:] = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the written rows and the counters."""
        filled = min(int(self.written.max()) + 1, self._rows)
        rings = {name: array.reshape(self.num_envs, self._rows, -1)[:, :filled] for name, array in self.arrays.items()}
        return {"written": self.written, "rings": rings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.written[:] = state["written"]
        self.valid[:] = False
        for name, ring in state["rings"].items():
            if name == "masks":
                self.arrays[name] = np.ones((len(self.valid), ring.shape[2]), bool)
            elif name == "task_ids":
                self.arrays[name] = np.zeros(len(self.valid), np.int64)
            self.arrays[name].reshape(self.num_envs, self._rows, -1)[:, : ring.shape[1]] = ring
