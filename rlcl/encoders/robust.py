"""Scaling by statistics that are robust to outliers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.encoders.quantile import quantiles
from rlcl.encoders.subtract_centre import needs_float64, subtract_centre
from rlcl.errors import Problem
from rlcl.types import Encoder, TaskIds

__all__ = ["Robust"]


@define(kw_only=True, eq=False)
class Robust(Encoder):
    """Scaling of each feature by its median and the distance of two quantiles.

    The statistics are those of the first inputs of the fit; a distance of 0 counts as 1. NaN remain NaN. The
    arithmetic is that of scikit-learn's ``RobustScaler``.

    Args:
        low, high: the lower and the upper quantile, in [0, 1].
        clip: limit of the encoded values, [-clip, clip]; null for no limit.
    """

    low: float = option(0.25, ge=0, lt=1)
    high: float = option(0.75, gt=0, le=1)
    clip: float | None = option(None, gt=0)
    _median: Tensor | None = field(init=False, default=None)
    _distance: Tensor | None = field(init=False, default=None)
    _in_float64: Tensor | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if self.low >= self.high:
            raise Problem(f"expected more than low, {self.low:g}, got {self.high:g}", "high")

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        if self._median is None:
            low, median, high = quantiles(x, [self.low, 0.5, self.high])
            self._median = median.clone()
            self._distance = torch.where(high > low, high - low, 1.0)
            self._check_precision()

    def _check_precision(self) -> None:
        if self._median is not None and self._distance is not None:
            mask = needs_float64(self._median, self._distance)
            self._in_float64 = mask if bool(mask.any()) else None

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        y = x.to(torch.float32)
        if self._median is not None and self._distance is not None:
            y = subtract_centre(x, self._median, self._in_float64) / self._distance.to(y)
        return y if self.clip is None else y.clamp(-self.clip, self.clip)

    def state_dict(self) -> dict[str, Any]:
        return {"median": self._median, "distance": self._distance}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._median, self._distance = state["median"], state["distance"]
        self._check_precision()
