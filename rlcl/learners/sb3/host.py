"""Adapter that exposes a Stable-Baselines3 model to methods and probes through the ``Host`` interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from attrs import frozen
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.methods.attach import NO_TASKS
from rlcl.types import Batch, Visibility

__all__ = ["Sb3Host", "host_of"]

Outputs = Callable[[Tensor], Tensor]


@frozen(eq=False)
class Sb3Host:
    """Adapter from a Stable-Baselines3 model to the :class:`rlcl.types.Host` interface, without minibatches.

    Args:
        model: a model of Stable-Baselines3.
        kind: see :class:`rlcl.types.Host`.
        modules, optimizers: by the name ``policy``, or by ``actor`` and ``critic``.
        forward: maps observations (B, *observation) to outputs (B, K).
        provides: capabilities, as far as the stream's visibility allows.
        experience_steps: returns the env steps of the current or last experience.
    """

    model: BaseAlgorithm
    kind: str
    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    forward: Outputs
    provides: frozenset[str]
    experience_steps: Callable[[], int]
    batch: None = None
    loss: None = None
    lacking = NO_TASKS

    @property
    def name(self) -> str:
        return f"sb3 ({type(self.model).__name__})"

    @property
    def primary(self) -> str:
        return next(iter(self.modules))

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        return self.forward(x)

    def sample(self, n: int | None, rng: np.random.Generator) -> Batch:
        """Sample at most ``n`` observations of the last rollout, or of the experience in the replay buffer."""
        shape = self.model.observation_space.shape or ()
        if isinstance(self.model, OnPolicyAlgorithm):
            rows = self.model.rollout_buffer.observations.reshape(-1, *shape)
        else:
            rows = _newest(self.model.replay_buffer, self.experience_steps(), shape)  # type: ignore[attr-defined]
            norm: Any = self.model.get_vec_normalize_env()
            if norm is not None:  # the replay buffer stores unnormalized observations
                rows = norm.normalize_obs(rows)
        indices = rng.permutation(len(rows))[:n]
        return Batch(torch.as_tensor(rows[indices], device=self.model.device))


def _newest(buffer: Any, env_steps: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    count = min(max(env_steps // buffer.n_envs, 1), buffer.buffer_size if buffer.full else buffer.pos)
    indices = np.arange(buffer.pos - count, buffer.pos) % buffer.buffer_size
    observations: np.ndarray[Any, Any] = buffer.observations[indices].reshape(-1, *shape)
    return observations


def host_of(model: BaseAlgorithm, visibility: Visibility, experience_steps: Callable[[], int]) -> Sb3Host:
    """Create the host of a model."""
    provides = frozenset({"boundaries"} if visibility.boundaries == "announced" else ())
    kind, modules, optimizers, forward = _parts(model)
    if isinstance(model.observation_space, gym.spaces.Dict):
        kind = "other"
    return Sb3Host(model, kind, modules, optimizers, forward, provides, experience_steps)


Parts = tuple[str, dict[str, nn.Module], dict[str, Optimizer], Outputs]


def _parts(model: Any) -> Parts:
    policy = model.policy
    if isinstance(model, OnPolicyAlgorithm):
        kind = "other"
        if hasattr(policy, "lstm_actor"):  # its outputs are not a function of one observation
            return kind, {"policy": policy}, {"policy": policy.optimizer}, policy
        if isinstance(model.action_space, gym.spaces.Discrete):
            kind = "categorical"
        elif isinstance(getattr(policy, "action_dist", None), DiagGaussianDistribution):
            kind = "gaussian"
        # TRPO updates by a line search, without its optimizer and its hooks.
        optimizers = {} if hasattr(model, "cg_max_steps") else {"policy": policy.optimizer}
        return kind, {"policy": policy}, optimizers, lambda x: _policy_outputs(policy, x, kind)
    if hasattr(policy, "q_net") or hasattr(policy, "quantile_net"):
        network = getattr(policy, "q_net", None) or policy.quantile_net
        return "values", {"policy": network}, {"policy": policy.optimizer}, lambda x: network(x).flatten(1)
    if hasattr(policy, "actor"):
        actor, critic = policy.actor, policy.critic
        stochastic = hasattr(actor, "get_action_dist_params") and not getattr(actor, "use_sde", False)
        forward = (lambda x: _actor_outputs(actor, x)) if stochastic else actor
        optimizers = {"actor": actor.optimizer, "critic": critic.optimizer}
        return "gaussian" if stochastic else "values", {"actor": actor, "critic": critic}, optimizers, forward
    return "other", {}, {}, policy


def _policy_outputs(policy: Any, x: Tensor, kind: str) -> Tensor:
    distribution = policy.get_distribution(x).distribution
    if kind == "categorical":
        logits: Tensor = distribution.logits
        return logits
    mean = distribution.mean
    return torch.cat((mean, policy.log_std.expand_as(mean)), 1)


def _actor_outputs(actor: Any, x: Tensor) -> Tensor:
    mean, log_std, _ = actor.get_action_dist_params(x)
    return torch.cat((mean, log_std), 1)
