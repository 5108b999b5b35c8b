"""What methods see of a Stable-Baselines3 model."""

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
    """A model as a :class:`rlcl.types.Host`: parameters, outputs and observations, but no minibatch.

    Args:
        model: the algorithm's instance.
        kind: see :class:`rlcl.types.Host`.
        modules, optimizers: by ``policy``, or by ``actor`` and ``critic``.
        forward: from observations (B, *observation) to outputs (B, K).
        provides: what the stream's visibility leaves.
        lived: tells how many env steps the experience in progress, or just learned, has had.
    """

    model: BaseAlgorithm
    kind: str
    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    forward: Outputs
    provides: frozenset[str]
    lived: Callable[[], int]
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
        """At most ``n`` observations: of the last rollout, or what the buffer holds of the experience."""
        shape = self.model.observation_space.shape or ()
        if isinstance(self.model, OnPolicyAlgorithm):
            rows = self.model.rollout_buffer.observations.reshape(-1, *shape)
        else:
            rows = _newest(self.model.replay_buffer, self.lived(), shape)  # type: ignore[attr-defined]
            norm: Any = self.model.get_vec_normalize_env()
            if norm is not None:  # the replay buffer keeps observations as they were
                rows = norm.normalize_obs(rows)
        chosen = rng.permutation(len(rows))[:n]
        return Batch(torch.as_tensor(rows[chosen], device=self.model.device))


def _newest(buffer: Any, env_steps: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    held = min(max(env_steps // buffer.n_envs, 1), buffer.buffer_size if buffer.full else buffer.pos)
    places = np.arange(buffer.pos - held, buffer.pos) % buffer.buffer_size
    observations: np.ndarray[Any, Any] = buffer.observations[places].reshape(-1, *shape)
    return observations


def host_of(model: BaseAlgorithm, visibility: Visibility, lived: Callable[[], int]) -> Sb3Host:
    """The host that fits a model's family."""
    provides = frozenset({"boundaries"} if visibility.boundaries == "announced" else ())
    kind, modules, optimizers, forward = _parts(model)
    if isinstance(model.observation_space, gym.spaces.Dict):
        kind = "other"
    return Sb3Host(model, kind, modules, optimizers, forward, provides, lived)


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
        # TRPO steps along a line search, past its optimizer and every hook.
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
