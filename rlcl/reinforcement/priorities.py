"""Draws in proportion to priorities, from a tree of sums in one array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field, frozen

from rlcl.config import option

__all__ = ["Priorities", "Prioritised", "SumTree"]

Array = np.ndarray[Any, Any]

EPSILON = 1e-6  # added to errors, so that every transition keeps a chance


@frozen(kw_only=True)
class Prioritised:
    """Transitions are drawn in proportion to a power of their last error.

    Args:
        alpha: the power; 0 draws uniformly.
        beta: how far importance weights undo it at first, rising linearly to 1 over what schedules run over.

    Source: Schaul et al. 2016, Prioritized experience replay, section 3.3 and 3.4, the proportional variant.
    """

    alpha: float = option(0.6, ge=0, le=1, help="power of the error; 0 draws uniformly")
    beta: float = option(0.4, ge=0, le=1, help="of the importance weights at first, rising to 1")


@define(eq=False)
class SumTree:
    """Numbers in an array, whose sums over ranges find the place of a running total.

    Args:
        size: how many numbers, at least 1; all are 0 at first.
    """

    size: int
    _nodes: Array = field(init=False)  # node i is the sum of 2i and 2i + 1; leaves begin at the middle
    _levels: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._levels = max(self.size - 1, 1).bit_length()
        self._nodes = np.zeros(2 << self._levels, np.float64)

    @property
    def leaves(self) -> Array:
        """(size,) the numbers, as a view."""
        start = len(self._nodes) // 2
        return self._nodes[start : start + self.size]

    @property
    def total(self) -> float:
        return float(self._nodes[1])

    def set(self, places: Array, values: Array | float) -> None:
        """Writes numbers of at least 0; of a place that is named twice the last one holds."""
        nodes = places + len(self._nodes) // 2
        self._nodes[nodes] = values
        for _ in range(self._levels):
            nodes = nodes >> 1
            # Sums of the two below, not differences added: no rounding errors gather.
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def find(self, masses: Array) -> Array:
        """(B,) the places whose share of the running total holds each mass (B,), in [0, total)."""
        nodes, left = np.ones(len(masses), np.int64), masses
        for _ in range(self._levels):
            nodes = nodes * 2
            below = self._nodes[nodes]
            right = left >= below
            left = left - below * right
            nodes += right
        places: Array = nodes - len(self._nodes) // 2
        return places

    def rebuild(self, leaves: Array) -> None:
        """Writes all numbers (size,)."""
        self.set(np.arange(self.size), leaves)


@define(eq=False)
class Priorities:
    """The priorities of a buffer's rows.

    Args:
        rows: of the buffer.
        settings: powers of errors and of importance weights.
    """

    rows: int
    settings: Prioritised
    _tree: SumTree = field(init=False)
    _largest: float = field(init=False, default=1.0)

    def __attrs_post_init__(self) -> None:
        self._tree = SumTree(self.rows)

    @property
    def bytes(self) -> int:
        return self._tree._nodes.nbytes

    def add(self, places: Array) -> None:
        """Gives new transitions the largest priority so far, so that each is likely to be drawn once."""
        self._tree.set(places, self._largest)

    def draw(self, count: int, valid: Array, rng: np.random.Generator, progress: float) -> tuple[Array, Array]:
        """One transition from each of ``count`` equal parts of the total.

        Args:
            count: B.
            valid: (rows,) bool, whether a row is a transition; there must be one of a priority above 0.
            rng: draws.
            progress: share of what schedules run over that is behind.

        Returns:
            (B,) int64 places, and (B,) float32 importance weights, the largest being 1.
        """
        tree = self._tree
        places = tree.find((np.arange(count) + rng.random(count)) * (tree.total / count))
        missing = np.flatnonzero(~self._valid(places, valid))
        while len(missing):  # rows that a later episode's end took keep their number until they are written again
            places[missing] = tree.find(rng.random(len(missing)) * tree.total)
            missing = missing[~self._valid(places[missing], valid)]
        beta = self.settings.beta + (1 - self.settings.beta) * progress
        chosen = tree.leaves[places]
        # (1 / (N P))^beta over the largest of the batch: N and the total cancel out.
        return places, ((chosen / chosen.min()) ** -beta).astype(np.float32)

    def _valid(self, places: Array, valid: Array) -> Array:
        inside = np.minimum(places, self.rows - 1)  # rounding may lead one beyond the last
        found: Array = valid[inside] & (self._tree.leaves[inside] > 0) & (places < self.rows)
        return found

    def update(self, places: Array, errors: Array) -> None:
        """Sets priorities by errors (B,), of any sign."""
        found = (np.abs(errors.astype(np.float64)) + EPSILON) ** self.settings.alpha
        self._largest = max(self._largest, float(found.max()))
        self._tree.set(places, found)

    def state_dict(self) -> dict[str, Any]:
        return {"leaves": self._tree.leaves, "largest": self._largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._tree.rebuild(state["leaves"])
        self._largest = state["largest"]
