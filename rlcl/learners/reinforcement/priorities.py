"""Priorities of prioritized replay, with a sum tree for proportional sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field, frozen

from rlcl.config import option

__all__ = ["Priorities", "Prioritised", "SumTree"]

Array = np.ndarray[Any, Any]

FANOUT = 32  # children of a node of the sum tree
EPSILON = 1e-6  # added to errors, so that every transition has a positive priority


@frozen(kw_only=True)
class Prioritised:
    """Prioritized replay: transitions are sampled in proportion to a power of their last error.

    Args:
        alpha: exponent of the error; 0 for uniform sampling.
        beta: initial exponent of the importance weights; it increases linearly to 1 over the budget of the experience
            or of the stream (see ``schedule_over`` of the learner).

    Source: Schaul et al. 2016, Prioritized experience replay, sections 3.3 and 3.4, proportional variant.
    """

    alpha: float = option(0.6, ge=0, le=1)
    beta: float = option(0.4, ge=0, le=1)


@define(eq=False)
class SumTree:
    """Sum tree over an array of non-negative numbers, which finds the index of a cumulative sum.

    Each level holds the sums of blocks of the level below. With blocks of 32 there are few levels, and each level takes
    few NumPy calls.

    Args:
        size: number of leaves, at least 1; all are 0 initially.
    """

    size: int
    _levels: list[Array] = field(init=False)  # (blocks, 32) each; the first one is the root block

    def __attrs_post_init__(self) -> None:
        blocks, self._levels = -(-self.size // FANOUT), []
        while True:
            self._levels.insert(0, np.zeros((blocks, FANOUT), np.float64))
            if blocks == 1:
                return
            blocks = -(-blocks // FANOUT)

    @property
    def leaves(self) -> Array:
        """(size,) leaves, as a view."""
        return self._levels[-1].reshape(-1)[: self.size]

    @property
    def total(self) -> float:
        return float(self._levels[0].sum())

    @property
    def bytes(self) -> int:
        return sum(level.nbytes for level in self._levels)

    def set(self, indices: Array, values: Array | float) -> None:
        """Set leaves to values >= 0; the last value counts for an index that occurs twice."""
        self.leaves[indices] = values
        for below, above in zip(self._levels[:0:-1], self._levels[-2::-1], strict=True):
            indices = indices // FANOUT
            # Blocks are summed again instead of adding differences, so that no rounding errors accumulate.
            above.reshape(-1)[indices] = below[indices].sum(1)

    def find(self, masses: Array) -> Array:
        """Return the indices (B,) at which the cumulative sum exceeds each mass.

        By rounding, an index may be that of a neighbour, or ``size``, one after the last leaf.

        Args:
            masses: (B,) in [0, total).
        """
        indices, rows = np.zeros(len(masses), np.int64), np.arange(len(masses))
        for level in self._levels:
            blocks = level[indices]
            sums = blocks.cumsum(1)
            inside = np.minimum((sums <= masses[:, None]).sum(1), FANOUT - 1)
            masses = masses - (sums[rows, inside] - blocks[rows, inside])
            indices = indices * FANOUT + inside
        return indices


@define(eq=False)
class Priorities:
    """Priorities of the rows of a replay buffer.

    Args:
        rows: number of rows of the buffer.
        settings: exponents of errors and of importance weights.
    """

    rows: int
    settings: Prioritised
    _tree: SumTree = field(init=False)
    _largest: float = field(init=False, default=1.0)

    def __attrs_post_init__(self) -> None:
        self._tree = SumTree(self.rows)

    @property
    def bytes(self) -> int:
        return self._tree.bytes

    def add(self, indices: Array) -> None:
        """Set the priority of new transitions to the maximum so far, so that each is likely to be sampled."""
        self._tree.set(indices, self._largest)

    def sample(self, count: int, valid: Array, rng: np.random.Generator, progress: float) -> tuple[Array, Array]:
        """Sample one transition from each of ``count`` equal intervals of the total (stratified sampling).

        Args:
            count: number B of transitions.
            valid: (rows,) bool, whether a row is a transition; at least one must have a priority above 0.
            rng: source of randomness.
            progress: used fraction of the budget that schedules cover (see ``schedule_over``), in [0, 1).

        Returns:
            Indices (B,) int64 and importance weights (B,) float32, whose maximum is 1.
        """
        tree = self._tree
        indices = tree.find((np.arange(count) + rng.random(count)) * (tree.total / count))
        missing = np.flatnonzero(~self._valid(indices, valid))
        while len(missing):  # rows that hold only a last observation keep an old priority until they are overwritten
            indices[missing] = tree.find(rng.random(len(missing)) * tree.total)
            missing = missing[~self._valid(indices[missing], valid)]
        beta = self.settings.beta + (1 - self.settings.beta) * progress
        priorities = tree.leaves[indices]
        # (1 / (N P))^beta divided by its maximum in the batch: N and the total cancel out.
        return indices, ((priorities / priorities.min()) ** -beta).astype(np.float32)

    def _valid(self, indices: Array, valid: Array) -> Array:
        inside = np.minimum(indices, self.rows - 1)  # SumTree.find may return one after the last leaf
        is_valid: Array = valid[inside] & (self._tree.leaves[inside] > 0) & (indices < self.rows)
        return is_valid

    def update(self, indices: Array, errors: Array) -> None:
        """Set the priorities of indices (B,) from errors (B,) of any sign."""
        priorities = (np.abs(errors.astype(np.float64)) + EPSILON) ** self.settings.alpha
        self._largest = max(self._largest, float(priorities.max()))
        self._tree.set(indices, priorities)

    def state_dict(self) -> dict[str, Any]:
        return {"leaves": self._tree.leaves, "largest": self._largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._tree.set(np.arange(self.rows), state["leaves"])
        self._largest = state["largest"]
