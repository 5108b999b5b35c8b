"""Each feature by its share of smaller values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option

__all__ = ["Quantile", "quantiles"]

LEAST = 1e-7  # shares below it and above 1 - it are cut to it: a normal quantile of 0 is minus infinity


def quantiles(x: Tensor, shares: Any) -> Tensor:
    """(K, *observation) float64 quantiles of each feature of inputs (N, *observation), values between two interpolated.

    NaN are left out; the quantiles of a feature that is NaN in all rows are 0.

    Args:
        x: (N, *observation).
        shares: (K,) in [0, 1].
    """
    values = x.flatten(1).double().cpu().numpy()
    absent = np.isnan(values)
    if absent.any():
        values = np.where(absent.all(0), 0.0, values)
        found = np.nanquantile(values, shares, axis=0)
    else:
        found = np.quantile(values, shares, axis=0)
    return torch.from_numpy(np.ascontiguousarray(found)).reshape(-1, *x.shape[1:])


@define(kw_only=True, eq=False)
class Quantile:
    """Maps each feature by its empirical distribution, so that values are spread evenly, or normally.

    The distribution is that of the first inputs that it is fitted on. NaN stay. The arithmetic is scikit-learn's
    ``QuantileTransformer``: linear between the quantiles, the middle of its places for a value that fills several of
    them, 0 and 1 (or about -5.2 and 5.2) at and beyond the ends.

    Args:
        output: ``uniform`` in [0, 1], or ``normal``.
        quantiles: how many are kept, at most as many as there are inputs.
    """

    output: Literal["uniform", "normal"] = option("uniform", help="in [0, 1], or normal")
    quantiles: int = option(1000, ge=2, help="how many are kept, at most as many as there are inputs")
    _quantiles: Tensor | None = field(init=False, default=None)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        if self._quantiles is None:
            shares = np.linspace(0, 1, max(min(self.quantiles, len(x)), 2))
            self._quantiles = quantiles(x, shares).flatten(1).T.contiguous()

    def encode(self, x: Tensor) -> Tensor:
        if self._quantiles is None:
            return x.to(torch.float32)
        known = self._quantiles.to(x.device)
        values = x.flatten(1).double().T.contiguous()
        share = torch.where(values.isnan(), values, _shares(values, known))
        if self.output == "normal":
            share = torch.special.ndtri(share.clamp(LEAST, 1 - LEAST))
        return share.T.reshape(x.shape).to(torch.float32).contiguous()

    def state_dict(self) -> dict[str, Any]:
        return {"quantiles": self._quantiles}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._quantiles = state["quantiles"]


def _shares(values: Tensor, known: Tensor) -> Tensor:
    """(F, B) places in [0, 1] of values (F, B) among ascending quantiles (F, K) of each feature."""
    last = known.shape[1] - 1
    right = torch.searchsorted(known, values, right=True).clamp(1, last)
    left = torch.searchsorted(known, values).clamp(1, last)
    place = (_between(values, known, right) + _between(values, known, left)) / (2 * last)
    place = torch.where(values >= known[:, -1:], 1.0, place)
    return torch.where(values <= known[:, :1], 0.0, place)


def _between(values: Tensor, known: Tensor, upper: Tensor) -> Tensor:
    """The place of a value between the quantile ``upper`` and the one before it."""
    low, high = known.gather(1, upper - 1), known.gather(1, upper)
    step = torch.where(high > low, high - low, 1.0)
    return upper - 1 + ((values - low) / step).clamp(0, 1)
