"""Observations and rewards in units of their own running statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.types import Encoder, Stream

__all__ = ["RunningMoments", "RunningNorm"]

Array = np.ndarray[Any, Any]
PRIOR = 1e-4  # how many samples of mean 0 and variance 1 are supposed to have come before


@define(eq=False)
class RunningMoments:
    """Mean and variance of everything seen so far, with the arithmetic of Stable-Baselines3, bit for bit.

    Args:
        mean, var: (*shape) float64; of shape () before anything was seen.
        count: of samples.

    Source: Chan, Golub & LeVeque 1983, eq. 1.5.
    """

    mean: Array = field(factory=lambda: np.zeros(()))
    var: Array = field(factory=lambda: np.ones(()))
    count: float = PRIOR

    def update(self, values: Array) -> None:
        """Adds samples (B, *shape)."""
        mean, var, count = np.mean(values, axis=0), np.var(values, axis=0), values.shape[0]
        delta, total = mean - self.mean, self.count + count
        squares = self.var * self.count + var * count + np.square(delta) * self.count * count / total
        self.mean = self.mean + delta * count / total
        self.var = squares / total
        self.count = total

    def state_dict(self) -> dict[str, Any]:
        return {"mean": np.asarray(self.mean), "var": np.asarray(self.var), "count": float(self.count)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean, self.var, self.count = state["mean"], state["var"], state["count"]


@define(kw_only=True, eq=False)
class RunningNorm(Encoder):
    """Observations less their running mean over their standard deviation, rewards over that of discounted returns.

    As Stable-Baselines3's ``VecNormalize``, whose statistics are this encoder's state: training updates
    them at every step of every environment, and evaluation and serving only read them. Rewards are
    changed in training alone; evaluation reports those of the environment. Over arrays, observations
    are normalised by everything seen so far, experience by experience. For environments it is the
    last of a list.

    Args:
        observations: whether observations are normalised.
        rewards: whether rewards are; environments alone have them.
        gamma: discount of the return whose standard deviation divides rewards.
        clip: what is normalised is cut to [-clip, clip].
        epsilon: added to variances.

    Source: Engstrom et al. 2020, Implementation matters in deep policy gradients, section 3.
    """

    observations: bool = option(True)
    rewards: bool = option(True)
    gamma: float = option(0.99, ge=0, le=1)
    clip: float = option(10.0, gt=0)
    epsilon: float = option(1e-8, gt=0)
    observed: RunningMoments = field(init=False, factory=RunningMoments)
    returns: RunningMoments = field(init=False, factory=RunningMoments)
    _over_arrays: bool = field(init=False, default=False)

    def adapt(self, stream: Stream) -> Stream:
        """The stream as it is; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: rewards of a stream that has none.
        """
        self._over_arrays = stream.spec.kind != "environment"
        if self.rewards and self._over_arrays:
            raise UnsupportedError(
                f"encoder running_norm: rewards: true normalises an environment's rewards, and this stream is "
                f"{stream.spec.kind}; set rewards: false, or use standardize with fit_on: running"
            )
        return stream

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        if self.observations:
            values = x.cpu().numpy()
            # Of a few environments float32 sums are those of Stable-Baselines3; of a data set they lose digits.
            self.observed.update(values.astype(np.float64) if self._over_arrays else values)

    def encode(self, x: Tensor) -> Tensor:
        if not self.observations:
            return x.to(torch.float32)
        mean = torch.as_tensor(self.observed.mean, device=x.device)
        deviation = torch.as_tensor(np.sqrt(self.observed.var + self.epsilon), device=x.device)
        return ((x.to(torch.float64) - mean) / deviation).clamp(-self.clip, self.clip).to(torch.float32)

    def state_dict(self) -> dict[str, Any]:
        return {"observed": self.observed.state_dict(), "returns": self.returns.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.observed.load_state_dict(state["observed"])
        self.returns.load_state_dict(state["returns"])
