"""A memory of transitions, in contiguous arrays that are allocated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field, frozen

__all__ = ["ReplayBuffer", "Transitions"]

Array = np.ndarray[Any, Any]


@frozen(eq=False)
class Transitions:
    """B transitions, each over k steps of one episode, k at most n.

    Args:
        observations: (B, *observation) raw.
        actions: (B, *action).
        rewards: (B,) float32, the sum of ``gamma^i r_{t+i}`` over the k steps.
        following: (B, *observation) raw states k steps later.
        discounts: (B,) float32, ``gamma^k``; 0 where that state is terminal.
        places: (B,) int64 in the buffer.
        masks: (B, K) bool, the actions that the states in ``following`` allow; None where all always did.
    """

    observations: Array
    actions: Array
    rewards: Array
    following: Array
    discounts: Array
    places: Array
    masks: Array | None


@define(eq=False)
class ReplayBuffer:
    """The last transitions of N environments, each environment in a ring of its own.

    A ring holds observations in the order of time, and that which follows an episode's last step in a
    row of its own: a state's successor is the next row, so that no observation is stored twice. What each state
    allows is kept from the first state on of which it is told.

    Args:
        capacity: rows, over all environments; rounded down to a multiple of N, at least three each.
        num_envs: N.
        shape, dtype: of one observation, which is kept as it is.
        action_shape, action_dtype: of one action.
    """

    capacity: int
    num_envs: int
    shape: tuple[int, ...]
    dtype: Any
    action_shape: tuple[int, ...]
    action_dtype: Any
    _rows: int = field(init=False)  # of one ring
    arrays: dict[str, Array] = field(init=False)
    written: Array = field(init=False)  # (N,) rows that each ring has written in all

    def __attrs_post_init__(self) -> None:
        # An episode of one step takes two rows, and the row behind it is free.
        self._rows = max(self.capacity // self.num_envs, 3)
        size = self._rows * self.num_envs
        self.arrays = {
            "observations": np.zeros((size, *self.shape), self.dtype),
            "actions": np.zeros((size, *self.action_shape), self.action_dtype),
            "rewards": np.zeros(size, np.float32),
            "terminated": np.zeros(size, bool),
            "ended": np.zeros(size, bool),
            "valid": np.zeros(size, bool),  # whether a row is a transition whose successor is there
        }
        self.written = np.zeros(self.num_envs, np.int64)

    def __len__(self) -> int:
        """Transitions that may be drawn."""
        return int(np.count_nonzero(self.arrays["valid"]))

    @property
    def rows(self) -> int:
        """Of all rings."""
        return self._rows * self.num_envs

    @property
    def valid(self) -> Array:
        """(rows,) bool, whether a row is a transition that may be drawn."""
        return self.arrays["valid"]

    @property
    def bytes(self) -> int:
        """What its arrays take, filled or not."""
        return sum(array.nbytes for array in self.arrays.values()) + self.written.nbytes

    @property
    def unwritten_bytes(self) -> int:
        """How many of those the system has not had to give yet."""
        filled = min(int(self.written.max()) + 1, self._rows)
        return int(self.bytes * (1 - filled / self._rows))

    def add(
        self,
        observations: Array,
        actions: Array,
        rewards: Array,
        following: Array,
        terminated: Array,
        ended: Array,
        masks: Array | None = None,
    ) -> Array:
        """Adds one transition of each environment, over the oldest ones.

        Args:
            observations: (N, *observation) acted in.
            actions: (N, *action).
            rewards: (N,).
            following: (N, *observation) states that followed, the last one of an episode before its reset.
            terminated: (N,) bool, whether those are terminal.
            ended: (N,) bool, whether the episode ended there.
            masks: (N, K) bool, the actions that the states in ``following`` allow; None for all.

        Returns:
            (N,) int64 places where they were written.
        """
        arrays, base = self.arrays, np.arange(self.num_envs) * self._rows
        places: Array = base + self.written % self._rows
        successors = base + (self.written + 1) % self._rows
        arrays["observations"][places] = observations
        arrays["actions"][places] = actions
        arrays["rewards"][places] = rewards
        arrays["terminated"][places] = terminated
        arrays["ended"][places] = ended
        arrays["valid"][places] = True
        arrays["observations"][successors] = following
        arrays["valid"][successors] = False
        if masks is not None and "masks" not in arrays:
            arrays["masks"] = np.ones((len(self.valid), masks.shape[1]), bool)
        if "masks" in arrays:
            arrays["masks"][successors] = True if masks is None else masks
        # After an episode's end its last state keeps its row, and the next episode begins behind it.
        self.written += 1 + ended
        arrays["valid"][base + self.written % self._rows] = False
        return places

    def interrupt(self) -> None:
        """Cuts off the episodes in progress: what is added next begins others."""
        base = np.arange(self.num_envs) * self._rows
        last = base + (self.written - 1) % self._rows
        going = (self.written > 0) & self.valid[last]
        self.arrays["ended"][last[going]] = True
        self.written += going
        self.valid[(base + self.written % self._rows)[going]] = False

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """(count,) places of transitions, uniformly at random with replacement; there must be one."""
        valid = self.arrays["valid"]
        filled = min(int(self.written.max()), self._rows)
        places = self._random(count, filled, rng)
        missing = np.flatnonzero(~valid[places])
        while len(missing):
            places[missing] = self._random(len(missing), filled, rng)
            missing = missing[~valid[places[missing]]]
        return places

    def _random(self, count: int, filled: int, rng: np.random.Generator) -> Array:
        rows: Array = rng.integers(filled, size=count)
        return rows if self.num_envs == 1 else rows + rng.integers(self.num_envs, size=count) * self._rows

    def at(self, places: Array, gamma: float, n: int = 1) -> Transitions:
        """The transitions over n steps that begin at places; fewer where the episode, or what is known of it, ends.

        Source: Sutton 1988; Hessel et al. 2018, Rainbow, section 3, multi-step learning.
        """
        arrays = self.arrays
        rewards, last, steps = arrays["rewards"][places], places, np.ones(len(places), np.float32)
        running = ~arrays["ended"][places]
        for i in range(1, n):
            if not running.any():  # n may be far longer than episodes
                break
            ahead = self._successors(last)
            running &= arrays["valid"][ahead]
            rewards = rewards + np.where(running, np.float32(gamma**i) * arrays["rewards"][ahead], np.float32(0))
            last = np.where(running, ahead, last)
            steps += running
            running &= ~arrays["ended"][ahead]
        discounts = (np.float32(gamma) ** steps) * ~arrays["terminated"][last]
        successors, masks = self._successors(last), arrays.get("masks")
        return Transitions(
            arrays["observations"].take(places, 0),
            arrays["actions"].take(places, 0),
            rewards,
            arrays["observations"].take(successors, 0),
            discounts.astype(np.float32, copy=False),
            places,
            None if masks is None else masks.take(successors, 0),
        )

    def _successors(self, places: Array) -> Array:
        after = places + 1
        return np.where(after % self._rows == 0, after - self._rows, after)

    def newest(self, count: int) -> Array:
        """(M, *observation) of the last rows written, at most ``count``, the same number of each environment."""
        each = int(min(max(count // self.num_envs, 1), self.written.min(), self._rows))
        rows = (self.written[:, None] - 1 - np.arange(each)) % self._rows
        places = (rows + np.arange(self.num_envs)[:, None] * self._rows).reshape(-1)
        return self.arrays["observations"].take(places, 0)

    def clear(self) -> None:
        """Drops everything."""
        self.arrays["valid"][:] = False
        self.written[:] = 0

    def state_dict(self) -> dict[str, Any]:
        """What has been written so far."""
        filled = min(int(self.written.max()) + 1, self._rows)
        rings = {name: array.reshape(self.num_envs, self._rows, -1)[:, :filled] for name, array in self.arrays.items()}
        return {"written": self.written, "rings": rings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.written[:] = state["written"]
        self.valid[:] = False
        for name, ring in state["rings"].items():
            if name == "masks":
                self.arrays[name] = np.ones((len(self.valid), ring.shape[2]), bool)
            self.arrays[name].reshape(self.num_envs, self._rows, -1)[:, : ring.shape[1]] = ring
