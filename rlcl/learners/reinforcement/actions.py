"""Distributions over actions, as functions of what a network gives: nothing is allocated, nothing is checked.

NumPy draws while environments run; torch differentiates while a learner learns. Both mean the same. Tensors may be
of minibatches side by side, (..., B, K), each with free parameters of its own, (..., F).
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from attrs import frozen
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.types import IMPOSSIBLE

__all__ = [
    "ActionDistribution",
    "Categorical",
    "Gaussian",
    "MultiCategorical",
    "allowed",
    "distribution_over",
    "free_parameters",
    "masked",
]

Array = np.ndarray[Any, Any]
LOG_2_PI = math.log(2 * math.pi)
FEW = 8  # choices


class ActionDistribution(Protocol):
    """A family of distributions over the actions of a space."""

    @property
    def kind(self) -> str:
        """See :class:`rlcl.types.Host`."""
        ...

    @property
    def outputs(self) -> int:
        """How many numbers K a network gives for each state."""
        ...

    @property
    def free(self) -> int:
        """How many parameters do not depend on the state."""
        ...

    def draw(self, outputs: Array, free: Array, rng: np.random.Generator) -> Array:
        """(N, *action) actions at random, as learned from; outputs (N, K), free (F,)."""
        ...

    def mode(self, outputs: Array) -> Array:
        """(N, *action) the likeliest actions."""
        ...

    def for_environment(self, actions: Array) -> Array:
        """The same actions as the environment takes them."""
        ...

    def greedy(self, outputs: Tensor) -> Tensor:
        """(B, *action) the likeliest, as the environment takes them; by torch, for a graph."""
        ...

    def scores(self, outputs: Tensor) -> Tensor | None:
        """(B, ..., K) what :meth:`greedy` decides by; None where actions are numbers."""
        ...

    def log_prob(self, outputs: Tensor, free: Tensor, actions: Tensor) -> Tensor:
        """(B,) log-probabilities (densities) of actions (B, *action)."""
        ...

    def entropy(self, outputs: Tensor, free: Tensor) -> Tensor:
        """(B,) or (1,) entropies, in nats."""
        ...

    def gradient(
        self, outputs: Tensor, free: Tensor, actions: Tensor, by_log_prob: Tensor, by_entropy: float
    ) -> tuple[Tensor, Tensor]:
        """A loss's derivative (B, K) by the outputs, and (F,) by the free parameters.

        Args:
            outputs, free, actions: as for :meth:`log_prob`.
            by_log_prob: (B,) its derivative by each log-probability.
            by_entropy: that by the mean entropy.
        """
        ...

    def as_outputs(self, outputs: Tensor, free: Tensor) -> Tensor:
        """(B, K') outputs as :class:`rlcl.types.Host` has them for the kind."""
        ...


@frozen
class Categorical:
    """One of ``n`` actions; outputs are logits.

    Args:
        n: actions.
        start: the space's first action.
    """

    n: int
    start: int = 0
    kind = "categorical"
    free = 0

    @property
    def outputs(self) -> int:
        return self.n

    def draw(self, outputs: Array, free: Array, rng: np.random.Generator) -> Array:
        # The largest of logits with Gumbel noise is a draw from their softmax (Maddison et al. 2014).
        found: Array = np.argmax(outputs + rng.gumbel(size=outputs.shape), axis=1)
        return found

    def mode(self, outputs: Array) -> Array:
        found: Array = outputs.argmax(1)
        return found

    def for_environment(self, actions: Array) -> Array:
        return actions + self.start

    def greedy(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1) + self.start

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs

    def log_prob(self, outputs: Tensor, free: Tensor, actions: Tensor) -> Tensor:
        return log_softmax(outputs).gather(-1, actions[..., None])[..., 0]

    def entropy(self, outputs: Tensor, free: Tensor) -> Tensor:
        log_p = log_softmax(outputs)
        return -(log_p.exp() * log_p).sum(-1)

    def gradient(
        self, outputs: Tensor, free: Tensor, actions: Tensor, by_log_prob: Tensor, by_entropy: float
    ) -> tuple[Tensor, Tensor]:
        return _by_logits(outputs, actions, by_log_prob, by_entropy), free

    def as_outputs(self, outputs: Tensor, free: Tensor) -> Tensor:
        return outputs


@frozen
class MultiCategorical:
    """Several independent choices; outputs are the logits of all, one after the other.

    Args:
        sizes: actions of each choice.
        starts: the first action of each.
    """

    sizes: tuple[int, ...]
    starts: tuple[int, ...]
    kind = "other"
    free = 0

    @property
    def outputs(self) -> int:
        return sum(self.sizes)

    def _parts(self, outputs: Any) -> list[Any]:
        return [
            outputs[..., end - size : end] for size, end in zip(self.sizes, np.cumsum(self.sizes).tolist(), strict=True)
        ]

    def draw(self, outputs: Array, free: Array, rng: np.random.Generator) -> Array:
        noisy = outputs + rng.gumbel(size=outputs.shape)
        return np.stack([part.argmax(1) for part in self._parts(noisy)], 1)

    def mode(self, outputs: Array) -> Array:
        return np.stack([part.argmax(1) for part in self._parts(outputs)], 1)

    def for_environment(self, actions: Array) -> Array:
        found: Array = actions + np.array(self.starts)
        return found

    def greedy(self, outputs: Tensor) -> Tensor:
        return self.scores(outputs).argmax(2) + torch.tensor(self.starts)

    def scores(self, outputs: Tensor) -> Tensor:
        """(B, choices, widest): those of fewer actions are filled up with -inf."""
        widest = max(self.sizes)
        parts = torch.split(outputs, list(self.sizes), 1)
        return torch.stack([F.pad(part, (0, widest - part.shape[1]), value=-torch.inf) for part in parts], 1)

    def log_prob(self, outputs: Tensor, free: Tensor, actions: Tensor) -> Tensor:
        log_ps = [log_softmax(part) for part in self._parts(outputs)]
        chosen = [log_p.gather(-1, actions[..., i : i + 1])[..., 0] for i, log_p in enumerate(log_ps)]
        return torch.stack(chosen).sum(0)

    def entropy(self, outputs: Tensor, free: Tensor) -> Tensor:
        log_ps = [log_softmax(part) for part in self._parts(outputs)]
        return torch.stack([-(log_p.exp() * log_p).sum(-1) for log_p in log_ps]).sum(0)

    def gradient(
        self, outputs: Tensor, free: Tensor, actions: Tensor, by_log_prob: Tensor, by_entropy: float
    ) -> tuple[Tensor, Tensor]:
        parts = enumerate(self._parts(outputs))
        return torch.cat([_by_logits(part, actions[..., i], by_log_prob, by_entropy) for i, part in parts], -1), free

    def as_outputs(self, outputs: Tensor, free: Tensor) -> Tensor:
        return outputs


@frozen(eq=False)
class Gaussian:
    """Independent normal actions; outputs are means, the log standard deviations are free of the state.

    Actions are learned from as drawn, and cut to the space's bounds for the environment alone.

    Args:
        low, high: (*action) bounds.
    """

    low: Array
    high: Array
    kind = "gaussian"

    @property
    def outputs(self) -> int:
        return int(self.low.size)

    @property
    def free(self) -> int:
        return self.outputs

    def draw(self, outputs: Array, free: Array, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal(outputs.shape, dtype=np.float32)
        return outputs + np.exp(free) * noise

    def mode(self, outputs: Array) -> Array:
        return outputs

    def for_environment(self, actions: Array) -> Array:
        return np.clip(actions.reshape(-1, *self.low.shape), self.low, self.high)

    def greedy(self, outputs: Tensor) -> Tensor:
        low, high = torch.from_numpy(self.low), torch.from_numpy(self.high)
        return torch.minimum(torch.maximum(outputs.reshape(-1, *low.shape), low), high)

    def scores(self, outputs: Tensor) -> None:
        return None

    def log_prob(self, outputs: Tensor, free: Tensor, actions: Tensor) -> Tensor:
        distance = (actions - outputs) * torch.exp(-free)[..., None, :]
        return -0.5 * distance.square().sum(-1) - free.sum(-1, keepdim=True) - 0.5 * LOG_2_PI * outputs.shape[-1]

    def entropy(self, outputs: Tensor, free: Tensor) -> Tensor:
        return free.sum(-1, keepdim=True) + 0.5 * (1 + LOG_2_PI) * outputs.shape[-1]

    def gradient(
        self, outputs: Tensor, free: Tensor, actions: Tensor, by_log_prob: Tensor, by_entropy: float
    ) -> tuple[Tensor, Tensor]:
        narrowness = torch.exp(-free)[..., None, :]
        distance = (actions - outputs).mul_(narrowness)
        by_log_prob = by_log_prob[..., None]
        by_free = (distance.square().sub_(1).mul_(by_log_prob)).sum(-2).add_(by_entropy)
        return distance.mul_(narrowness).mul_(by_log_prob), by_free

    def as_outputs(self, outputs: Tensor, free: Tensor) -> Tensor:
        return torch.cat((outputs, free.expand_as(outputs)), 1)


def _by_logits(logits: Tensor, actions: Tensor, by_log_prob: Tensor, by_entropy: float) -> Tensor:
    """(B, K) of one choice: ``g (onehot - p) - h p (log p + H) / B``; see :meth:`ActionDistribution.gradient`."""
    log_p = log_softmax(logits)
    p = log_p.exp()
    found = p * -by_log_prob[..., None]
    found.scatter_add_(-1, actions[..., None], by_log_prob[..., None])
    if by_entropy:
        entropy = -(p * log_p).sum(-1, keepdim=True)
        found -= p.mul_(log_p.add_(entropy)).mul_(by_entropy / p.shape[-2])
    return found


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities (..., B, K) of logits; of few choices along the other dimension, in a fifth of the time."""
    return logits.mT.contiguous().log_softmax(-2).mT if logits.shape[-1] <= FEW else logits.log_softmax(-1)


def distribution_over(space: gym.Space[Any]) -> ActionDistribution:
    """The family for an action space.

    Raises:
        UnsupportedError: none is known.
    """
    if isinstance(space, gym.spaces.Discrete):
        return Categorical(int(space.n), int(space.start))
    if isinstance(space, gym.spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return MultiCategorical(tuple(map(int, space.nvec)), tuple(map(int, space.start)))
    if isinstance(space, gym.spaces.MultiBinary) and len(space.shape) == 1:
        return MultiCategorical((2,) * space.shape[0], (0,) * space.shape[0])
    if isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return Gaussian(space.low, space.high)
    raise UnsupportedError(
        f"actions of {space} cannot be drawn; expected Discrete, MultiDiscrete or MultiBinary of one dimension, "
        "or Box of floats; wrap the environment in one that takes those (gymnasium.wrappers.TransformAction)"
    )


def masked(outputs: Array, masks: Array | None) -> Array:
    """Logits (N, K) of which those that are not allowed (False in masks (N, K)) have no probability."""
    return outputs if masks is None else np.where(masks, outputs, np.float32(IMPOSSIBLE))


def allowed(outputs: Tensor, masks: Tensor | None) -> Tensor:
    """The same for tensors."""
    return outputs if masks is None else outputs.masked_fill(~masks, IMPOSSIBLE)


def free_parameters(distribution: ActionDistribution, initial: float) -> nn.Parameter | None:
    """What the distribution needs beside a network's outputs, (F,); None for nothing."""
    return nn.Parameter(torch.full((distribution.free,), initial)) if distribution.free else None
