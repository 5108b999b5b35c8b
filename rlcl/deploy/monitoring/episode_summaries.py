"""Summaries of whole episodes in a few numbers; unlike env steps, different episodes are independent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.monitoring.comparisons import (
    FeatureComparison,
    ProjectionComparison,
    WindowComparison,
    column_names,
)
from rlcl.deploy.signature import Signature

__all__ = ["MAX_STEPS", "EpisodeSummary", "action_shares", "episode_comparisons"]

Array = np.ndarray[Any, Any]

MAX_STEPS = 500  # env steps of an episode that are summarized, by the monitor and at export


@define(eq=False)
class EpisodeSummary:
    """Running means and standard deviations over one episode.

    The sums are over differences from the first step. A constant feature therefore has a deviation of exactly 0,
    without a rounding error, and equal episodes have equal summaries to the last bit.

    Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", shifted data.
    """

    steps: int = field(init=False, default=0)
    _first: dict[str, Array] = field(init=False, factory=dict)
    _sums: dict[str, Array] = field(init=False, factory=dict)
    _squares: dict[str, Array] = field(init=False, factory=dict)

    def add(self, row: Mapping[str, Array]) -> None:
        """Add the next env step.

        Args:
            row: (F,) features by kind.
        """
        if not self.steps:
            self._first = {kind: np.array(values, np.float64) for kind, values in row.items()}
            self._sums, self._squares = ({kind: np.zeros(len(v)) for kind, v in row.items()} for _ in range(2))
        self.steps += 1
        for kind, values in row.items():
            difference = values - self._first[kind]
            self._sums[kind] += difference
            self._squares[kind] += difference * difference

    def rows(self, discrete_actions: bool) -> dict[str, Array]:
        """Return one row by kind: means, then standard deviations. The row of ``inputs`` begins with the length.

        Args:
            discrete_actions: whether predictions are shares of actions, whose deviations follow from their means and
                are left out.
        """
        rows = {}
        for kind, first in self._first.items():
            difference = self._sums[kind] / self.steps
            spread = np.sqrt(np.maximum(self._squares[kind] / self.steps - difference * difference, 0))
            length = [float(self.steps)] if kind == "inputs" else []
            spreads: Any = [] if discrete_actions and kind == "predictions" else spread
            rows[kind] = np.concatenate([length, first + difference, spreads])
        return rows


def action_shares(actions: Array, known: Array) -> Array:
    """Return (B, K + 1) one-hot rows of (B,) actions; the last column is for actions outside the (K,) known ones."""
    is_action = actions[:, None] == known
    return np.concatenate([is_action, ~is_action.any(1, keepdims=True)], 1).astype(np.float32)


def episode_comparisons(
    signature: Signature, tables: Mapping[str, Array], known: Array | None
) -> dict[str, WindowComparison]:
    """Build the comparisons of episodes with the reference episodes, by kind.

    Args:
        signature: signature of the bundle.
        tables: (R, ...) rows of :meth:`EpisodeSummary.rows` by kind, one for each of R episodes.
        known: (K,) actions, if they are discrete.
    """
    decisive = column_names(signature.outputs[:1])
    action_names = (
        [*(f"share of {n}" for n in known), "share of others"] if known is not None else _mean_and_spread(decisive)
    )
    return {
        "inputs": FeatureComparison(
            ["length", *_mean_and_spread(column_names(signature.inputs))], tables["inputs"], independent=True
        ),
        "encoded": ProjectionComparison(tables["encoded"], independent=True),
        "predictions": FeatureComparison(action_names, tables["predictions"], independent=True),
    }


def _mean_and_spread(names: Sequence[str]) -> list[str]:
    return [f"{statistic} of {name}" for statistic in ("mean", "spread") for name in names]
