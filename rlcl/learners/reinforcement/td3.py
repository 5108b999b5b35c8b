"""Twin delayed deep deterministic policy gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.config.aliases import Alias
from rlcl.learners.fast.backprop import Passes, passes_of
from rlcl.learners.fast.fused_adam import pack_parameters
from rlcl.learners.fast.twin_networks import SeparateTwins, StackedTwins
from rlcl.learners.optimizers import Adam, build_optimizer
from rlcl.learners.reinforcement.action_values import bootstrapped_targets
from rlcl.learners.reinforcement.bounded_actions import BoundedActions, bounded_actions
from rlcl.learners.reinforcement.losses import (
    deterministic_policy_loss,
    deterministic_policy_loss_gradient,
    twin_loss,
    twin_loss_gradient,
)
from rlcl.learners.reinforcement.off_policy import OffPolicyLearner
from rlcl.learners.reinforcement.setting_aliases import TD3_ALIASES
from rlcl.learners.reinforcement.target_networks import frozen_copy, polyak_update
from rlcl.learners.reinforcement.transition_batch import TransitionBatch, n_step_batch
from rlcl.learners.reinforcement.twin_critics import build_twin_critics, critic_inputs
from rlcl.networks.mlp import Mlp
from rlcl.networks.task_ids import call_network
from rlcl.types import Batch, Experience, Graph, Network, OptimizerFactory, Transitions

__all__ = ["Td3"]

Array = np.ndarray[Any, Any]


@define(kw_only=True, eq=False)
class Td3(OffPolicyLearner):
    """Twin delayed DDPG: a deterministic actor, twin critics, and exploration by Gaussian noise.

    With ``policy_delay: 1`` and ``smoothing: 0`` it is DDPG with twin critics.

    Logged values: ``critic_loss`` (sum of both critics' mean squared errors) and ``value`` (mean value of the
    minibatch's actions by both critics) of the last update of each round, and ``actor_loss`` (minus the mean value of
    the actor's actions by the first critic) of its last delayed update.

    Args:
        network: network architecture of the actor, whose outputs pass through ``tanh``, and of each critic, whose
            input is the concatenation of observation and action.
        optimizer: optimizer of the actor, and of the critics.
        tau: weight of the online networks in the Polyak average of the target networks, at each update of the actor; 1
            copies the weights.
        policy_delay: updates of the critics per update of the actor and of the target networks.
        noise: standard deviation of exploration noise, as a share of half the range of actions.
        smoothing: standard deviation of the noise on the target actor's actions, in the same unit.
        smoothing_clip: bound of the absolute value of that noise.

    Source: Fujimoto et al. 2018, Addressing function approximation error in actor-critic methods, eq. 14,
    algorithm 1.
    """

    aliases: ClassVar[Mapping[str, Alias]] = TD3_ALIASES

    network: Network = option(factory=lambda: Mlp(hidden=(400, 300)))
    optimizer: OptimizerFactory = option(factory=Adam)
    tau: float = option(0.005, gt=0, le=1)
    policy_delay: int = option(2, ge=1)
    noise: float = option(0.1, ge=0)
    smoothing: float = option(0.2, ge=0)
    smoothing_clip: float = option(0.5, ge=0)

    actor: nn.Module = field(init=False, default=None)
    critic: StackedTwins | SeparateTwins = field(init=False, default=None)
    _target_networks: dict[str, nn.Module] = field(init=False, factory=dict)
    _optimizers: dict[str, Optimizer] = field(init=False, factory=dict)
    _shape: tuple[int, ...] = field(init=False, default=())  # of one encoded observation
    _passes: dict[str, Passes] = field(init=False, factory=dict)
    _weights: dict[str, Tensor] = field(init=False, factory=dict)
    _actions: BoundedActions = field(init=False, default=None)
    _noise: torch.Generator = field(init=False, default=None)
    _critic_updates: int = field(init=False, default=0)

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
    def target_networks(self) -> Mapping[str, nn.Module]:
        return self._target_networks

    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        device, name = self._setup.device, self.name
        self._actions = bounded_actions(actions, name)
        dims = self._actions.dims
        self.actor = self.build_network(self.network, shape, dims).to(device)
        self._shape = shape
        self.critic = self._build_critics()
        self._target_networks = {key: frozen_copy(module) for key, module in self.modules.items()}
        self._weights = {key: pack_parameters(module.parameters()) for key, module in self._networks.items()}
        self._optimizers = {
            key: build_optimizer(self.optimizer, list(module.parameters())) for key, module in self.modules.items()
        }
        self._noise = self._setup.seeds.child("noise").torch()
        self.make_replay_buffer(shape, (dims,), np.float32, num_envs)

    @property
    def _networks(self) -> dict[str, nn.Module]:
        return {**self.modules, **{f"target {key}": module for key, module in self._target_networks.items()}}

    def _build_critics(self) -> StackedTwins | SeparateTwins:
        return build_twin_critics(self.network, self._shape, self._actions.dims, self.tasks).to(self._setup.device)

    @property
    def critic_refusal(self) -> None:
        return None

    def critic_outputs(self, x: Tensor, task_ids: Tensor | None) -> Tensor:
        values: Tensor = call_network(self.critic, x, task_ids).T
        return values

    def reset_critic(self) -> None:
        weights = self._build_critics().state_dict()
        for critic in (self.critic, self._target_networks["critic"]):
            critic.load_state_dict(weights)
        self._optimizers["critic"].state.clear()

    def ready(self) -> None:
        self.acting = self.acting_forward(self.actor)
        self._passes = {key: passes_of(module) for key, module in self._networks.items()}
        self._passes["first critic"] = self.critic.passes_of_first()

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return actions (B, D) in [-1, 1]."""
        return torch.tanh(call_network(self.actor, x, task_ids))

    def act(self, observations: Array, masks: Array | None = None) -> Array:
        return self.for_environment(np.tanh(self.acting(observations)))

    def planned_updates(self, experience: Experience) -> int:
        before, planned = self._critic_updates, super().planned_updates(experience)
        return (before + planned) // self.policy_delay - before // self.policy_delay

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        return self.policy_graph(self.actor, self._actions.greedy)

    def random_actions(self, count: int) -> Array:
        return self._actions.random(count, self.rng)

    def explore(self, observations: Array, progress: float) -> Array:
        actions = np.tanh(self.acting(observations))
        noise = self.noise * self.rng.standard_normal(actions.shape, dtype=np.float32)
        noisy: Array = np.clip(actions + noise, -1, 1)
        return noisy

    def for_environment(self, actions: Array) -> Array:
        return self._actions.for_environment(actions)

    def update_on(self, batch: TransitionBatch) -> Tensor:
        logged = {}
        for minibatch in batch.split(self.batch_size):
            predicted, targets, loss = self._update_critics(minibatch)
            self._critic_updates += 1
            if self._critic_updates % self.policy_delay == 0:
                logged["actor_loss"] = self._update_actor(minibatch.observations, minibatch.task_ids)
        self.log(**logged, critic_loss=loss, value=predicted.mean())
        return (predicted - targets).abs().mean(0)

    def _update_critics(self, batch: TransitionBatch) -> tuple[Tensor, Tensor, Tensor]:
        ids = batch.task_ids
        self.batch = Batch(batch.observations, task_ids=ids)
        noise = torch.randn(batch.actions.shape, generator=self._noise).to(batch.actions.device)
        next_outputs = self._passes["target actor"].forward(batch.next_observations, ids)
        next_actions = self._smoothed(next_outputs, noise)
        next_inputs = critic_inputs(batch.next_observations, next_actions)
        next_values = self._passes["target critic"].forward(next_inputs, ids).amin(0)
        targets = bootstrapped_targets(batch.rewards, batch.discounts, next_values)
        predicted = self._passes["critic"].forward(critic_inputs(batch.observations, batch.actions), ids)
        self._passes["critic"].backward(twin_loss_gradient(predicted, targets, batch.weights))
        self._optimizers["critic"].step()
        return predicted, targets, twin_loss(predicted, targets, batch.weights)

    def _update_actor(self, observations: Tensor, task_ids: Tensor | None) -> Tensor:
        actions = self._passes["actor"].forward(observations, task_ids).tanh()
        values = self._passes["first critic"].forward(critic_inputs(observations, actions), task_ids)
        by_inputs = self._passes["first critic"].backward(
            deterministic_policy_loss_gradient(values), weights=False, inputs=True
        )
        assert by_inputs is not None
        by_actions = by_inputs[:, -actions.shape[1] :]
        self._passes["actor"].backward(by_actions * (1 - actions.square()))
        self._optimizers["actor"].step()
        for key in self.modules:
            polyak_update(self._weights[f"target {key}"], self._weights[key], self.tau)
        return deterministic_policy_loss(values)

    def transition_loss(self, module: str, transitions: Transitions, rng: np.random.Generator) -> Tensor:
        batch = n_step_batch(transitions, self.gamma, self.n_step)
        ids = batch.task_ids
        if module == "actor":
            inputs = critic_inputs(batch.observations, self.outputs(batch.observations, ids))
            return deterministic_policy_loss(call_network(self.critic, inputs, ids)[0])
        noise = torch.from_numpy(rng.standard_normal(batch.actions.shape, np.float32)).to(batch.actions.device)
        with torch.no_grad():
            next_outputs = call_network(self._target_networks["actor"], batch.next_observations, ids)
            inputs = critic_inputs(batch.next_observations, self._smoothed(next_outputs, noise))
            next_values = call_network(self._target_networks["critic"], inputs, ids).amin(0)
            targets = bootstrapped_targets(batch.rewards, batch.discounts, next_values)
        return twin_loss(call_network(self.critic, critic_inputs(batch.observations, batch.actions), ids), targets)

    def _smoothed(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Return the target actor's actions with clipped noise (target policy smoothing), in [-1, 1]."""
        noise = noise.mul_(self.smoothing).clamp_(-self.smoothing_clip, self.smoothing_clip)
        return outputs.tanh().add_(noise).clamp_(-1, 1)

    def own_state(self) -> dict[str, Any]:
        return {"noise": self._noise.get_state(), "updated": self._critic_updates}

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        self._noise.set_state(state["noise"])
        self._critic_updates = state["updated"]
