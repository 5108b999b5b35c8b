"""Proximal policy optimization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.learners.optimizers import Adam, built_optimizer
from rlcl.learners.reinforcement import ReinforcementLearner
from rlcl.methods.modes import evaluating
from rlcl.networks.mlp import Mlp
from rlcl.networks.tried import tried
from rlcl.reinforcement.actions import ActionDistribution, distribution_over, free_parameters
from rlcl.reinforcement.collecting import Collector
from rlcl.reinforcement.forward import Forward, forward_of
from rlcl.reinforcement.losses import clipped_surrogate, value_loss
from rlcl.reinforcement.returns import explained_variance, generalized_advantages
from rlcl.types import Batch, Network, OptimizerFactory

__all__ = ["Ppo"]

Array = np.ndarray[Any, Any]


class ActorCritic(nn.Module):
    """A network for actions, one for values, and what the distribution has beside them."""

    def __init__(self, actor: nn.Module, critic: nn.Module, free: nn.Parameter | None) -> None:
        super().__init__()
        self.actor = actor
        self.critic = critic
        self.free = free

    @property
    def side_by_side(self) -> tuple[nn.Module, ...]:
        """The networks, each with a head of its own."""
        return (self.actor, self.critic)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) outputs of the actor."""
        outputs: Tensor = self.actor(x)
        return outputs


@define(kw_only=True, eq=False)
class Ppo(ReinforcementLearner):
    """Improves a policy by the advantages of what it has just done, no further than a clipped ratio allows.

    A rollout of ``n_steps`` in each environment is learned from for ``epochs`` passes of minibatches,
    then thrown away. With ``epochs: 1``, ``batch_size: null`` and ``clip: null`` it is A2C.

    Events tell, of the last pass over each rollout: ``policy_loss`` (the clipped surrogate, negated),
    ``value_loss`` (mean squared error of returns), ``entropy`` (nats), ``approx_kl`` (mean of
    ``ratio - 1 - log ratio``, Schulman 2020), ``clip_fraction`` (share of ratios outside the clip); of the
    rollout ``explained_variance`` of returns by values.

    Args:
        network: of the actor, and of the critic.
        optimizer: of both.
        n_steps: of each environment between two updates.
        batch_size: transitions in a minibatch; null for the whole rollout.
        epochs: passes over each rollout.
        gae_lambda: of generalized advantage estimation.
        clip: how far the ratio of new to old probability counts; null for no bound.
        clip_schedule: whether ``clip`` falls linearly to 0 over what schedules run over.
        normalize_advantages: in each minibatch to mean 0 and deviation 1.
        entropy_weight: of the entropy, which is added to the objective.
        value_weight: of the values' squared error.
        clip_norm: the greatest norm of the gradient; null for any.
        target_kl: ends the passes over a rollout where ``approx_kl`` exceeds 1.5 times this; null for never.
        log_std: initial log standard deviation of continuous actions.

    Source: Schulman et al. 2017, Proximal policy optimization algorithms, eq. 7 and 9 and algorithm 1; details:
    Huang et al. 2022, The 37 implementation details of proximal policy optimization.
    """

    network: Network = option(
        factory=lambda: Mlp(hidden=(64, 64), activation="tanh", initialization="orthogonal"),
        help="of the actor, and of the critic",
    )
    optimizer: OptimizerFactory = option(factory=lambda: Adam(lr=3e-4, epsilon=1e-5), help="of both networks")
    n_steps: int = option(2048, ge=1, help="of each environment between two updates")
    batch_size: int | None = option(64, ge=1, help="transitions in a minibatch; null for the whole rollout")
    epochs: int = option(10, ge=1, help="passes over each rollout")
    gae_lambda: float = option(0.95, ge=0, le=1, help="of generalized advantage estimation")
    clip: float | None = option(0.2, gt=0, help="how far the ratio of probabilities counts; null for no bound")
    clip_schedule: bool = option(False, help="clip falls linearly to 0")
    normalize_advantages: bool = option(True, help="in each minibatch to mean 0 and deviation 1")
    entropy_weight: float = option(0.0, help="of the entropy in the objective")
    value_weight: float = option(0.5, ge=0, help="of the values' squared error")
    clip_norm: float | None = option(0.5, gt=0, help="greatest norm of the gradient; null for any")
    target_kl: float | None = option(
        None, gt=0, help="ends the passes over a rollout at 1.5 times this; null for never"
    )
    log_std: float = option(0.0, help="initial log standard deviation of continuous actions")

    policy: ActorCritic = field(init=False, default=None)
    _optimizer: Optimizer = field(init=False, default=None)
    _distribution: ActionDistribution = field(init=False, default=None)
    _acting: Forward = field(init=False, default=None)
    _num_envs: int = field(init=False, default=1)
    _shuffle: torch.Generator = field(init=False, default=None)
    _observations: Array = field(init=False, default=None)  # (T, N, *encoded) of the last rollout

    @property
    def kind(self) -> str:
        return self._distribution.kind

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"policy": self.policy}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return {"policy": self._optimizer}

    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        self._distribution = distribution_over(actions)
        self._num_envs = num_envs
        actor, critic = (
            tried(self.network.build(shape, outputs, 1), self.network, shape, outputs, False)
            for outputs in (self._distribution.outputs, 1)
        )
        scale_orthogonal(actor, 0.01)
        scale_orthogonal(critic, 1.0)
        free = free_parameters(self._distribution, self.log_std)
        self.policy = ActorCritic(actor, critic, free).to(self._setup.device)
        self._optimizer = built_optimizer(self.optimizer, list(self.policy.parameters()))
        self._acting = forward_of(self.policy.actor)
        self._shuffle = self._setup.seeds.child("shuffle").torch()
        self._observations = np.zeros((self.n_steps, num_envs, *shape), np.float32)

    @property
    def steps_at_once(self) -> int:
        return self.n_steps * self._num_envs

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        return self._distribution.as_outputs(self.policy(x), self._free)

    @property
    def _free(self) -> Tensor:
        return torch.empty(0) if self.policy.free is None else self.policy.free

    def act(self, observations: Array) -> Array:
        return self._distribution.for_environment(self._distribution.mode(self._acting(observations)))

    def recent(self) -> Array:
        return self._observations.reshape(-1, *self._observations.shape[2:])

    def advance(self, collector: Collector, progress: float) -> None:
        batch = self._collect(collector)
        clip = None if self.clip is None else self.clip * (1 - progress if self.clip_schedule else 1)
        for epoch in range(self.epochs):
            if not self._pass(batch, clip, last=epoch == self.epochs - 1):
                break
        self.batch = None

    def _collect(self, collector: Collector) -> dict[str, Tensor]:
        """One rollout, in columns (T * N, ...): observations, actions, log_probs, advantages, returns."""
        steps, count = self.n_steps, self._num_envs
        observations, free = self._observations, self._free.detach().numpy()
        rewards = np.empty((steps, count), np.float32)
        terminated, ended = np.empty((steps, count), bool), np.empty((steps, count), bool)
        actions, finals, places = [], [], []
        for t in range(steps):
            observations[t] = collector.encode(collector.observations)
            drawn = self._distribution.draw(self._acting(observations[t]), free, self.rng)
            step = collector.step(self._distribution.for_environment(drawn))
            actions.append(drawn)
            rewards[t], terminated[t], ended[t] = step.rewards, step.terminated, step.ended
            cut = np.flatnonzero(step.ended & ~step.terminated)
            if len(cut):
                finals.append(collector.encode(step.following[cut]))
                places.extend((t, i) for i in cut)
        last = collector.encode(collector.observations)
        flat = torch.from_numpy(observations.reshape(-1, *observations.shape[2:]))
        taken = torch.from_numpy(np.concatenate(actions))
        with evaluating(self.policy):
            known = self.policy.critic(torch.cat([flat, torch.from_numpy(np.concatenate([last, *finals]))]))[
                :, 0
            ].numpy()
            log_probs = self._distribution.log_prob(self.policy.actor(flat), self._free, taken)
        values = known[: steps * count].reshape(steps, count)
        following = np.concatenate([values[1:], known[None, steps * count : (steps + 1) * count]])
        if places:
            following[tuple(np.array(places).T)] = known[(steps + 1) * count :]
        advantages = generalized_advantages(rewards, values, following, terminated, ended, self.gamma, self.gae_lambda)
        returns = advantages + values
        self.log(explained_variance=explained_variance(values, returns))
        return {
            "observations": flat,
            "actions": taken,
            "log_probs": log_probs,
            "advantages": torch.from_numpy(advantages.reshape(-1)),
            "returns": torch.from_numpy(returns.reshape(-1)),
        }

    def _pass(self, rollout: Mapping[str, Tensor], clip: float | None, last: bool) -> bool:
        """One pass over a rollout; False where the policy has moved far enough."""
        rows = len(rollout["actions"])
        for chosen in torch.randperm(rows, generator=self._shuffle).split(self.batch_size or rows):
            part = {name: column.index_select(0, chosen) for name, column in rollout.items()}
            self.batch = Batch(part["observations"])
            outputs = self.policy.actor(part["observations"])
            log_ratio = self._distribution.log_prob(outputs, self._free, part["actions"]) - part["log_probs"]
            advantages = part["advantages"]
            if self.normalize_advantages and len(advantages) > 1:
                advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
            policy_loss = clipped_surrogate(log_ratio, advantages, clip)
            entropy = self._distribution.entropy(outputs, self._free).mean()
            error = value_loss(self.policy.critic(part["observations"])[:, 0], part["returns"])
            if last or self.target_kl is not None:
                kl = self._told(log_ratio.detach(), policy_loss.detach(), error.detach(), entropy.detach(), clip)
                if self.target_kl is not None and kl > 1.5 * self.target_kl:
                    return False
            loss = policy_loss - self.entropy_weight * entropy + self.value_weight * error
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        return True

    def _told(
        self, log_ratio: Tensor, policy_loss: Tensor, error: Tensor, entropy: Tensor, clip: float | None
    ) -> float:
        ratio = log_ratio.exp()
        kl = float((ratio - 1 - log_ratio).mean())
        outside = 0.0 if clip is None else float(((ratio - 1).abs() > clip).float().mean())
        self.log(policy_loss=policy_loss, value_loss=error, entropy=entropy, approx_kl=kl, clip_fraction=outside)
        return kl

    def learner_state(self) -> dict[str, Any]:
        return {"shuffle": self._shuffle.get_state(), "observations": self._observations}

    def load_learner_state(self, state: Mapping[str, Any]) -> None:
        self._shuffle.set_state(state["shuffle"])
        self._observations = state["observations"]


def scale_orthogonal(module: nn.Module, last: float) -> None:
    """Multiplies orthogonal weights by sqrt 2, and those of the last layer by their own gain; others stay.

    Source: Huang et al. 2022, detail 2.
    """
    layers = [m for m in module.modules() if getattr(m, "initialization", None) == "orthogonal"]
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(last if layer is layers[-1] else math.sqrt(2))  # type: ignore[operator,union-attr]
