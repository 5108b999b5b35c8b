"""Draws in proportion to priorities, from a tree of sums in one array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field, frozen

from rlcl.config import option

__all__ = ["Priorities", "Prioritised", "SumTree"]

Array = np.ndarray[Any, Any]

FAN = 32  # numbers that one sum takes
EPSILON = 1e-6  # added to errors, so that every transition keeps a chance


@frozen(kw_only=True)
class Prioritised:
    """Transitions are drawn in proportion to a power of their last error.

    Args:
        alpha: the power of the error; 0 draws uniformly.
        beta: how far importance weights undo it at first, rising linearly to 1 over what schedules run over.

    Source: Schaul et al. 2016, Prioritized experience replay, section 3.3 and 3.4, the proportional variant.
    """

    alpha: float = option(0.6, ge=0, le=1)
    beta: float = option(0.4, ge=0, le=1)


@define(eq=False)
class SumTree:
    """Numbers whose sums over ranges find the place of a running total.

    Each level sums blocks of the one below it. Blocks of 32 make a level a few calls of NumPy, and few levels.

    Args:
        size: how many numbers, at least 1; all are 0 at first.
    """

    size: int
    _levels: list[Array] = field(init=False)  # each (blocks, 32), the root's single block first

    def __attrs_post_init__(self) -> None:
        blocks, self._levels = -(-self.size // FAN), []
        while True:
            self._levels.insert(0, np.zeros((blocks, FAN), np.float64))
            if blocks == 1:
                return
            blocks = -(-blocks // FAN)

    @property
    def leaves(self) -> Array:
        """(size,) the numbers, as a view."""
        return self._levels[-1].reshape(-1)[: self.size]

    @property
    def total(self) -> float:
        return float(self._levels[0].sum())

    @property
    def bytes(self) -> int:
        return sum(level.nbytes for level in self._levels)

    def set(self, places: Array, values: Array | float) -> None:
        """Writes numbers of at least 0; of a place that is named twice the last one holds."""
        self.leaves[places] = values
        for below, above in zip(self._levels[:0:-1], self._levels[-2::-1], strict=True):
            places = places // FAN
            # Sums of what is below, not differences added: no rounding errors gather.
            above.reshape(-1)[places] = below[places].sum(1)

    def find(self, masses: Array) -> Array:
        """(B,) the places whose share of the running total holds each mass (B,), in [0, total).

        By rounding it may be a place beside one whose share ends there, or one beyond the last.
        """
        places, rows = np.zeros(len(masses), np.int64), np.arange(len(masses))
        for level in self._levels:
            blocks = level[places]
            sums = blocks.cumsum(1)
            inside = np.minimum((sums <= masses[:, None]).sum(1), FAN - 1)
            masses = masses - (sums[rows, inside] - blocks[rows, inside])
            places = places * FAN + inside
        return places


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
        return self._tree.bytes

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
        self._tree.set(np.arange(self.rows), state["leaves"])
        self._largest = state["largest"]
