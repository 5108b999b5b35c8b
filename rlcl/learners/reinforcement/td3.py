"""Twin delayed deep deterministic policy gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.learners.fast.backprop import Passes, passes_of
from rlcl.learners.fast.forward import Forward, forward_of
from rlcl.learners.fast.fused_adam import lay_out
from rlcl.learners.fast.twins import Apart, Twins
from rlcl.learners.optimizers import Adam, built_optimizer
from rlcl.learners.reinforcement.bounded import Bounded, bounded
from rlcl.learners.reinforcement.critics import critics, rows
from rlcl.learners.reinforcement.losses import (
    deterministic_policy_loss,
    deterministic_policy_loss_gradient,
    twin_loss,
    twin_loss_gradient,
)
from rlcl.learners.reinforcement.off_policy import Drawn, OffPolicyLearner, followed, frozen_copy
from rlcl.learners.reinforcement.policy_graphs import policy_graph
from rlcl.learners.reinforcement.values import bootstrapped
from rlcl.networks.mlp import Mlp
from rlcl.networks.tried import tried
from rlcl.types import Batch, Graph, Network, OptimizerFactory

__all__ = ["Td3"]

Array = np.ndarray[Any, Any]


@define(kw_only=True, eq=False)
class Td3(OffPolicyLearner):
    """Learns one action for each state, by two critics whose lesser value counts, and explores with noise beside it.

    With ``policy_delay: 1`` and ``smoothing: 0`` it is DDPG with twin critics.

    Events tell: ``critic_loss`` (sum of both critics' mean squared errors) and ``value`` (mean of both critics for
    the minibatch's actions) of the last update of each round, and ``actor_loss`` (minus the mean value of the actor's
    actions by the first critic) of its last delayed one.

    Args:
        network: of the actor, whose outputs ``tanh`` bounds, and of each critic, which reads observation and action
            in one row.
        optimizer: of the actor, and of the critics.
        tau: share of the way that the targets go at each update of the actor.
        policy_delay: updates of the critics for one of the actor and of all targets.
        noise: standard deviation of the normal noise added to actions while learning, as a share of half their range.
        smoothing: standard deviation of the normal noise added to the target actor's actions, in the same unit.
        smoothing_clip: what that noise is cut to, on either side.

    Source: Fujimoto et al. 2018, Addressing function approximation error in actor-critic methods, eq. 14,
    algorithm 1.
    """

    network: Network = option(factory=lambda: Mlp(hidden=(400, 300)))
    optimizer: OptimizerFactory = option(factory=Adam)
    tau: float = option(0.005, gt=0, le=1)
    policy_delay: int = option(2, ge=1)
    noise: float = option(0.1, ge=0)
    smoothing: float = option(0.2, ge=0)
    smoothing_clip: float = option(0.5, ge=0)

    actor: nn.Module = field(init=False, default=None)
    critic: Twins | Apart = field(init=False, default=None)
    _targets: dict[str, nn.Module] = field(init=False, factory=dict)
    _optimizers: dict[str, Optimizer] = field(init=False, factory=dict)
    _passes: dict[str, Passes] = field(init=False, factory=dict)
    _weights: dict[str, Tensor] = field(init=False, factory=dict)
    _actions: Bounded = field(init=False, default=None)
    _acting: Forward = field(init=False, default=None)
    _noise: torch.Generator = field(init=False, default=None)
    _updated: int = field(init=False, default=0)

    @property
    def kind(self) -> str:
        return "values"

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"actor": self.actor, "critic": self.critic}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return self._optimizers

    @property
    def targets(self) -> Mapping[str, nn.Module]:
        return self._targets

    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        device, name = self._setup.device, self.name
        self._actions = bounded(actions, name)
        numbers = self._actions.numbers
        self.actor = tried(self.network.build(shape, numbers, 1), self.network, shape, numbers).to(device)
        self.critic = critics(self.network, shape, numbers).to(device)
        self._targets = {key: frozen_copy(module) for key, module in self.modules.items()}
        self._weights = {key: lay_out(module.parameters()) for key, module in self._networks.items()}
        self._optimizers = {
            key: built_optimizer(self.optimizer, list(module.parameters())) for key, module in self.modules.items()
        }
        self._acting = forward_of(self.actor)
        self._noise = self._setup.seeds.child("noise").torch()
        self.keep(shape, (numbers,), np.float32, num_envs)

    @property
    def _networks(self) -> dict[str, nn.Module]:
        return {**self.modules, **{f"target {key}": module for key, module in self._targets.items()}}

    def ready(self) -> None:
        self._passes = {key: passes_of(module) for key, module in self._networks.items()}
        self._passes["first critic"] = self.critic.passes_of_first()

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """(B, D) actions in [-1, 1]."""
        return torch.tanh(self.actor(x))

    def act(self, observations: Array, masks: Array | None = None) -> Array:
        return self.for_environment(np.tanh(self._acting(observations)))

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        return policy_graph(self.encoder, self.actor, self._actions.greedy)

    def random_actions(self, count: int) -> Array:
        return self._actions.random(count, self.rng)

    def explore(self, observations: Array, progress: float) -> Array:
        actions = np.tanh(self._acting(observations))
        noise = self.noise * self.rng.standard_normal(actions.shape, dtype=np.float32)
        cut: Array = np.clip(actions + noise, -1, 1)
        return cut

    def for_environment(self, actions: Array) -> Array:
        return self._actions.for_environment(actions)

    def improve(self, lesson: Drawn) -> Tensor:
        told = {}
        for batch in lesson.split(self.batch_size):
            predicted, wanted, loss = self._improve_critics(batch)
            self._updated += 1
            if self._updated % self.policy_delay == 0:
                told["actor_loss"] = self._improve_actor(batch.observations)
        self.log(**told, critic_loss=loss, value=predicted.mean())
        return (predicted - wanted).abs().mean(0)

    def _improve_critics(self, batch: Drawn) -> tuple[Tensor, Tensor, Tensor]:
        self.batch = Batch(batch.observations)
        noise = torch.randn(batch.actions.shape, generator=self._noise).to(batch.actions.device)
        noise = noise.mul_(self.smoothing).clamp_(-self.smoothing_clip, self.smoothing_clip)
        next_actions = self._passes["target actor"].forward(batch.following).tanh().add_(noise).clamp_(-1, 1)
        values = self._passes["target critic"].forward(rows(batch.following, next_actions)).amin(0)
        wanted = bootstrapped(batch.rewards, batch.discounts, values)
        predicted = self._passes["critic"].forward(rows(batch.observations, batch.actions))
        self._passes["critic"].backward(twin_loss_gradient(predicted, wanted, batch.weights))
        self._optimizers["critic"].step()
        return predicted, wanted, twin_loss(predicted, wanted, batch.weights)

    def _improve_actor(self, observations: Tensor) -> Tensor:
        actions = self._passes["actor"].forward(observations).tanh()
        values = self._passes["first critic"].forward(rows(observations, actions))
        by_rows = self._passes["first critic"].backward(
            deterministic_policy_loss_gradient(values), weights=False, inputs=True
        )
        assert by_rows is not None
        by_actions = by_rows[:, -actions.shape[1] :]
        self._passes["actor"].backward(by_actions * (1 - actions.square()))
        self._optimizers["actor"].step()
        for key in self.modules:
            followed(self._weights[f"target {key}"], self._weights[key], self.tau)
        return deterministic_policy_loss(values)

    def own_state(self) -> dict[str, Any]:
        return {"noise": self._noise.get_state(), "updated": self._updated}

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        self._noise.set_state(state["noise"])
        self._updated = state["updated"]
