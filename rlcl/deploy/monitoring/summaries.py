"""What a whole episode met, in a few numbers: those of different episodes are independent, as its steps are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.monitoring.comparisons import Comparison, Features, Projections, names
from rlcl.deploy.signature import Signature

__all__ = ["LONGEST", "Summary", "comparisons", "shares_of"]

Array = np.ndarray[Any, Any]

LONGEST = 500  # env steps of an episode that are summed up, here and at export


@define(eq=False)
class Summary:
    """Means and standard deviations over one episode, while it goes on.

    They are summed up as differences from the first step: so what never changes has a deviation of 0 and not of a
    rounding error, and equal episodes are equal to the last bit.

    Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", shifted data.
    """

    steps: int = field(init=False, default=0)
    _first: dict[str, Array] = field(init=False, factory=dict)
    _sums: dict[str, Array] = field(init=False, factory=dict)
    _squares: dict[str, Array] = field(init=False, factory=dict)

    def add(self, row: Mapping[str, Array]) -> None:
        """Takes the next step in.

        Args:
            row: (F,) by kind.
        """
        if not self.steps:
            self._first = {kind: np.array(values, np.float64) for kind, values in row.items()}
            self._sums, self._squares = ({kind: np.zeros(len(v)) for kind, v in row.items()} for _ in range(2))
        self.steps += 1
        for kind, values in row.items():
            moved = values - self._first[kind]
            self._sums[kind] += moved
            self._squares[kind] += moved * moved

    def rows(self, shares: bool) -> dict[str, Array]:
        """One row by kind: means and deviations, of ``inputs`` behind the length.

        Args:
            shares: whether predictions are shares of actions, whose means tell all.
        """
        made = {}
        for kind, first in self._first.items():
            moved = self._sums[kind] / self.steps
            spread = np.sqrt(np.maximum(self._squares[kind] / self.steps - moved * moved, 0))
            length = [float(self.steps)] if kind == "inputs" else []
            made[kind] = np.concatenate([length, first + moved, [] if shares and kind == "predictions" else spread])
        return made


def shares_of(actions: Array, known: Array) -> Array:
    """(B, K + 1) which action each of (B,) is, those that are none of (K,) known ones last."""
    found = actions[:, None] == known
    return np.concatenate([found, ~found.any(1, keepdims=True)], 1).astype(np.float32)


def comparisons(signature: Signature, tables: Mapping[str, Array], known: Array | None) -> dict[str, Comparison]:
    """What episodes are compared with.

    Args:
        signature: of the bundle.
        tables: (R, ...) rows of :meth:`Summary.rows` by kind, of as many episodes.
        known: (K,) actions, where they are discrete.
    """
    decisive = names(signature.outputs[:1])
    acted = [*(f"share of {n}" for n in known), "share of others"] if known is not None else _both(decisive)
    return {
        "inputs": Features(["length", *_both(names(signature.inputs))], tables["inputs"], independent=True),
        "encoded": Projections(tables["encoded"], independent=True),
        "predictions": Features(acted, tables["predictions"], independent=True),
    }


def _both(called: Sequence[str]) -> list[str]:
    return [f"{what} of {name}" for what in ("mean", "spread") for name in called]
