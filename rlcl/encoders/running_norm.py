"""Normalization of observations and rewards by running statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.types import Encoder, Stream, TaskIds

__all__ = ["RunningMoments", "RunningNorm"]

Array = np.ndarray[Any, Any]
PRIOR_COUNT = 1e-4  # weight of the initial mean 0 and variance 1, in samples


@define(eq=False)
class RunningMoments:
    """Running mean and variance of all samples, bit for bit as in Stable-Baselines3.

    Args:
        mean, var: (*shape) float64; of shape () before the first sample.
        count: number of samples.

    Source: Chan, Golub & LeVeque 1983, eq. 1.5.
    """

    mean: Array = field(factory=lambda: np.zeros(()))
    var: Array = field(factory=lambda: np.ones(()))
    count: float = PRIOR_COUNT

    def update(self, values: Array) -> None:
        """Update the statistics with samples (B, *shape)."""
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
    """Normalization of observations and rewards by running statistics.

    Observations are normalized by their mean and standard deviation. Rewards are divided by the standard deviation of
    the discounted returns. The encoder corresponds to Stable-Baselines3's ``VecNormalize``, whose statistics are its
    state. Training updates them at every step of every environment; evaluation and serving do not change them.
    Rewards are normalized in training only; evaluation reports the rewards of the environment. For arrays,
    observations are normalized by all inputs so far, and the statistics are updated with each experience. For
    environments it must be the last encoder of a list.

    Args:
        observations: whether observations are normalized.
        rewards: whether rewards are normalized (environments only).
        gamma: discount factor of the return whose standard deviation divides the rewards.
        clip: limit of the normalized values, [-clip, clip].
        epsilon: added to the variances.

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
        """Return the stream unchanged; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: ``rewards`` is set and the stream has no rewards.
        """
        self._over_arrays = stream.spec.kind != "environment"
        if self.rewards and self._over_arrays:
            raise UnsupportedError(
                f"encoder running_norm: rewards: true normalizes an environment's rewards, and this stream is "
                f"{stream.spec.kind}; set rewards: false, or use standardize with fit_on: running"
            )
        return stream

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return observation_shape

    def fit(self, x: Tensor) -> None:
        if self.observations:
            values = x.cpu().numpy()
            # float32 sums equal those of Stable-Baselines3 for a few environments, but lose digits for a data set.
            self.observed.update(values.astype(np.float64) if self._over_arrays else values)

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
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
