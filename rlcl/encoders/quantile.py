"""Quantile transformation of each feature, with quantiles and the normal quantile function."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.encoders.sorted_values import SortedValues
from rlcl.types import Encoder, TaskIds

__all__ = ["Quantile", "normal_quantile", "quantiles"]

MARGIN = 1e-7  # shares are clipped to [MARGIN, 1 - MARGIN], because the normal quantile of 0 is minus infinity

# Coefficients of the rational approximations in Cephes' ndtri.
SQRT_2PI, EXP_MINUS_2 = math.sqrt(2 * math.pi), math.exp(-2)
P0 = (-59.9633501014107895267, 98.0010754185999661536, -56.6762857469070293439, 13.9312609387279679503,
      -1.23916583867381258016)  # fmt: skip
Q0 = (1, 1.95448858338141759834, 4.67627912898881538453, 86.3602421390890590575, -225.462687854119370527,
      200.260212380060660359, -82.0372256168333339912, 15.9056225126211695515, -1.18331621121330003142)  # fmt: skip
P1 = (4.05544892305962419923, 31.5251094599893866154, 57.1628192246421288162, 44.0805073893200834700,
      14.6849561928858024014, 2.18663306850790267539, -0.140256079171354495875, -0.0350424626827848203418,
      -8.57456785154685413611e-4)  # fmt: skip
Q1 = (1, 15.7799883256466749731, 45.3907635128879210584, 41.3172038254672030440, 15.0425385692907503408,
      2.50464946208309415979, -0.142182922854787788574, -0.0380806407691578277194,
      -9.33259480895457427372e-4)  # fmt: skip


def quantiles(x: Tensor, shares: Any) -> Tensor:
    """Compute quantiles of each feature, with linear interpolation.

    NaN are ignored. The quantiles of a feature that is NaN in all rows are 0.

    Args:
        x: inputs (N, *observation).
        shares: (K,) in [0, 1].

    Returns:
        (K, *observation) float64.
    """
    values = x.flatten(1).double().cpu().numpy()
    absent = np.isnan(values)
    if absent.any():
        values = np.where(absent.all(0), 0.0, values)
        result = np.nanquantile(values, shares, axis=0)
    else:
        result = np.quantile(values, shares, axis=0)
    return torch.from_numpy(np.ascontiguousarray(result)).reshape(-1, *x.shape[1:])


@define(kw_only=True, eq=False)
class Quantile(Encoder):
    """Transformation of each feature to a uniform or normal distribution by its empirical distribution.

    The distribution is that of the first inputs of the fit. NaN remain NaN. The arithmetic is that of scikit-learn's
    ``QuantileTransformer``: linear between the quantiles, the middle of the range for a value that equals several
    quantiles, and 0 and 1 (or about -5.2 and 5.2) at the ends and beyond.

    Args:
        output: distribution of the result: ``uniform`` in [0, 1], or ``normal``.
        quantiles: number of quantiles, at most the number of inputs.
    """

    output: Literal["uniform", "normal"] = option("uniform")
    quantiles: int = option(1000, ge=2)
    _quantiles: Tensor | None = field(init=False, default=None)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        if self._quantiles is None:
            shares = np.linspace(0, 1, max(min(self.quantiles, len(x)), 2))
            self._quantiles = quantiles(x, shares).flatten(1).T.contiguous()

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        if self._quantiles is None:
            return x.to(torch.float32)
        values = x.flatten(1).double()
        share = torch.where(values.isnan(), values, _shares(values, self._quantiles))
        if self.output == "normal":
            share = normal_quantile(share.clamp(MARGIN, 1 - MARGIN))
        return share.reshape(x.shape).to(torch.float32)

    def state_dict(self) -> dict[str, Any]:
        return {"quantiles": self._quantiles}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._quantiles = state["quantiles"]


def _shares(values: Tensor, quantiles: Tensor) -> Tensor:
    """Compute the shares (B, F) in [0, 1] of values (B, F) among ascending quantiles (F, K) of each feature."""
    last, known = quantiles.shape[1] - 1, SortedValues(tuple(quantiles))
    right, left = (known.count_below(values, equal=equal).clamp(1, last) for equal in (True, False))
    share = (_interpolated_index(values, known, right) + _interpolated_index(values, known, left)) / (2 * last)
    ends = quantiles[:, [0, -1]].T.to(values.device)
    share = torch.where(values >= ends[1], 1.0, share)
    return torch.where(values <= ends[0], 0.0, share)


def _interpolated_index(values: Tensor, known: SortedValues, upper: Tensor) -> Tensor:
    """Interpolate the index of a value between the quantile ``upper`` and the one before it."""
    low, high = known.at(upper - 1), known.at(upper)
    step = torch.where(high > low, high - low, 1.0)
    return upper - 1 + ((values - low) / step).clamp(0, 1)


def normal_quantile(share: Tensor) -> Tensor:
    """Compute the quantile function of the standard normal in full float64 precision, with operations of ONNX.

    Args:
        share: of any shape, float64 in [1e-13, 1 - 1e-13]; NaN remain NaN.

    Source: Moshier 1984, Cephes, ``ndtri``, without its outermost piece; as ``torch.special.ndtri``.
    """
    middle = share - 0.5
    square = middle * middle
    central = SQRT_2PI * (middle + middle * square * _polynomial(square, P0) / _polynomial(square, Q0))
    tail = torch.where(middle > 0, 1 - share, share)
    root = (-2 * tail.log()).sqrt()
    inverse = 1 / root
    outer = root - root.log() * inverse - inverse * _polynomial(inverse, P1) / _polynomial(inverse, Q1)
    outer = torch.where(middle > 0, outer, -outer)
    return torch.where(tail > EXP_MINUS_2, central, outer)


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Evaluate a polynomial by Horner's method, with the coefficient of the highest power first."""
    value = torch.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value
