"""Action distributions, parametrized by the outputs of a network.

Sampling uses NumPy arrays, because it runs between env steps. Log-probabilities, entropies and gradients use torch.
Tensors may hold several minibatches (..., B, K), each with separate free parameters (..., F).
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
    "distribution_over",
    "free_parameters",
    "mask_array",
    "mask_tensor",
]

Array = np.ndarray[Any, Any]
LOG_2_PI = math.log(2 * math.pi)
FEW = 8  # choices; see log_softmax


class ActionDistribution(Protocol):
    """A family of distributions over an action space."""

    @property
    def kind(self) -> str:
        """See :class:`rlcl.types.Host`."""
        ...

    @property
    def choices(self) -> tuple[int, ...]:
        """Number of actions of each independent choice; empty for continuous actions."""
        ...

    @property
    def outputs(self) -> int:
        """Number K of outputs that the network must have."""
        ...

    @property
    def free(self) -> int:
        """Number F of parameters that do not depend on the state."""
        ...

    def sample(self, outputs: Array, free: Array, rng: np.random.Generator) -> Array:
        """Sample actions (N, *action), in the form in which they are learned from.

        Args:
            outputs: (N, K) of the network.
            free: (F,) parameters that do not depend on the state.
            rng: source of randomness.
        """
        ...

    def mode(self, outputs: Array) -> Array:
        """Return the most likely actions (N, *action) for outputs (N, K)."""
        ...

    def for_environment(self, actions: Array) -> Array:
        """Convert sampled actions to the environment's action space."""
        ...

    def greedy(self, outputs: Tensor) -> Tensor:
        """Return the most likely actions (B, *action) in the environment's action space, for inference graphs."""
        ...

    def scores(self, outputs: Tensor) -> Tensor | None:
        """Return the scores (B, ..., K) whose maximum :meth:`greedy` takes; None for continuous actions."""
        ...

    def log_prob(self, outputs: Tensor, free: Tensor, actions: Tensor) -> Tensor:
        """Return log-probabilities (log-densities) (B,) of actions (B, *action)."""
        ...

    def entropy(self, outputs: Tensor, free: Tensor) -> Tensor:
        """Return entropies (B,), or (1,) if they do not depend on the state, in nats."""
        ...

    def gradient(
        self, outputs: Tensor, free: Tensor, actions: Tensor, by_log_prob: Tensor, by_entropy: float
    ) -> tuple[Tensor, Tensor]:
        """Return the derivatives of a loss by the outputs (B, K) and by the free parameters (F,).

        Args:
            outputs, free, actions: as for :meth:`log_prob`.
            by_log_prob: (B,) derivative of the loss by each log-probability.
            by_entropy: derivative of the loss by the mean entropy.
        """
        ...

    def as_outputs(self, outputs: Tensor, free: Tensor) -> Tensor:
        """Return outputs (B, K') in the form that :class:`rlcl.types.Host` defines for :attr:`kind`.

        Args:
            outputs: (B, K), or (B, L, K) of sequences; see :class:`rlcl.types.SequenceHost`.
            free: (F,) parameters that do not depend on the state.
        """
        ...


@frozen
class Categorical:
    """Categorical distribution over a Discrete space; outputs are logits.

    Args:
        n: number of actions.
        start: first action of the space.
    """

    n: int
    start: int = 0
    kind = "categorical"
    free = 0

    @property
    def choices(self) -> tuple[int, ...]:
        return (self.n,)

    @property
    def outputs(self) -> int:
        return self.n

    def sample(self, outputs: Array, free: Array, rng: np.random.Generator) -> Array:
        # The argmax of logits with Gumbel noise is a sample from their softmax (Maddison et al. 2014).
        sampled: Array = np.argmax(outputs + rng.gumbel(size=outputs.shape), axis=1)
        return sampled

    def mode(self, outputs: Array) -> Array:
        actions: Array = outputs.argmax(1)
        return actions

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
        return outputs.flatten(1)


@frozen
class MultiCategorical:
    """Independent categorical distributions over a MultiDiscrete space; outputs are their concatenated logits.

    Args:
        sizes: number of actions of each choice.
        starts: first action of each choice.
    """

    sizes: tuple[int, ...]
    starts: tuple[int, ...]
    kind = "multi_categorical"
    free = 0

    @property
    def choices(self) -> tuple[int, ...]:
        return self.sizes

    @property
    def outputs(self) -> int:
        return sum(self.sizes)

    def _parts(self, outputs: Any) -> list[Any]:
        return [
            outputs[..., end - size : end] for size, end in zip(self.sizes, np.cumsum(self.sizes).tolist(), strict=True)
        ]

    def sample(self, outputs: Array, free: Array, rng: np.random.Generator) -> Array:
        noisy = outputs + rng.gumbel(size=outputs.shape)
        return np.stack([part.argmax(1) for part in self._parts(noisy)], 1)

    def mode(self, outputs: Array) -> Array:
        return np.stack([part.argmax(1) for part in self._parts(outputs)], 1)

    def for_environment(self, actions: Array) -> Array:
        shifted: Array = actions + np.array(self.starts)
        return shifted

    def greedy(self, outputs: Tensor) -> Tensor:
        return self.scores(outputs).argmax(2) + torch.tensor(self.starts)

    def scores(self, outputs: Tensor) -> Tensor:
        """Return logits (B, choices, largest size); choices with fewer actions are padded with -inf."""
        largest = max(self.sizes)
        parts = torch.split(outputs, list(self.sizes), 1)
        return torch.stack([F.pad(part, (0, largest - part.shape[1]), value=-torch.inf) for part in parts], 1)

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
        return outputs.flatten(1)


@frozen(eq=False)
class Gaussian:
    """Independent normal distributions over a Box space.

    Outputs are means. Log standard deviations are free parameters, which do not depend on the state. Sampled actions
    are learned from without clipping; they are clipped to the bounds of the space for the environment only.

    Args:
        low, high: (*action) bounds of the space.
    """

    low: Array
    high: Array
    kind = "gaussian"
    choices = ()

    @property
    def outputs(self) -> int:
        return int(self.low.size)

    @property
    def free(self) -> int:
        return self.outputs

    def sample(self, outputs: Array, free: Array, rng: np.random.Generator) -> Array:
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
        return torch.cat((outputs.flatten(1), free.expand_as(outputs).flatten(1)), 1)


def _by_logits(logits: Tensor, actions: Tensor, by_log_prob: Tensor, by_entropy: float) -> Tensor:
    """Return the gradient by the logits of one choice; see :meth:`ActionDistribution.gradient`.

    It is ``g (onehot - p) - h p (log p + H) / B``, with g = ``by_log_prob`` and h = ``by_entropy``.

    Args:
        logits: (B, K).
        actions: (B,) int64.
        by_log_prob: (B,).
        by_entropy: derivative by the mean entropy.

    Returns:
        (B, K).
    """
    log_p = log_softmax(logits)
    p = log_p.exp()
    gradient = p * -by_log_prob[..., None]
    gradient.scatter_add_(-1, actions[..., None], by_log_prob[..., None])
    if by_entropy:
        entropy = -(p * log_p).sum(-1, keepdim=True)
        gradient -= p.mul_(log_p.add_(entropy)).mul_(by_entropy / p.shape[-2])
    return gradient


def log_softmax(logits: Tensor) -> Tensor:
    """Return log-probabilities (..., B, K) of logits; few choices are transposed first, which is five times as fast."""
    return logits.mT.contiguous().log_softmax(-2).mT if logits.shape[-1] <= FEW else logits.log_softmax(-1)


def distribution_over(space: gym.Space[Any]) -> ActionDistribution:
    """Return the distribution family for an action space.

    Raises:
        UnsupportedError: there is no family for this space.
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
        f"no distribution over actions of {space}; expected Discrete, MultiDiscrete or MultiBinary of one dimension, "
        "or Box of floats; wrap the environment in one that takes those (gymnasium.wrappers.TransformAction)"
    )


def mask_array(outputs: Array, masks: Array | None) -> Array:
    """Return logits (N, K) with probability 0 for disallowed actions, which are False in masks (N, K)."""
    return outputs if masks is None else np.where(masks, outputs, np.float32(IMPOSSIBLE))


def mask_tensor(outputs: Tensor, masks: Tensor | None) -> Tensor:
    """Return logits (..., N, K) with probability 0 for disallowed actions, which are False in masks (..., N, K)."""
    return outputs if masks is None else outputs.masked_fill(~masks, IMPOSSIBLE)


def free_parameters(distribution: ActionDistribution, initial: float) -> nn.Parameter | None:
    """Return the distribution's parameters (F,) that do not depend on the state, initialized; None if F is 0."""
    return nn.Parameter(torch.full((distribution.free,), initial)) if distribution.free else None
