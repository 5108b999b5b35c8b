"""Soft actor-critic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

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
from rlcl.learners.reinforcement.bounded_actions import (
    LOG_STD,
    BoundedActions,
    bounded_actions,
    squashed_gaussian,
    squashed_gaussian_gradient,
)
from rlcl.learners.reinforcement.losses import (
    soft_policy_loss,
    soft_policy_loss_gradient,
    temperature_loss_gradient,
    twin_loss,
    twin_loss_gradient,
)
from rlcl.learners.reinforcement.off_policy import OffPolicyLearner
from rlcl.learners.reinforcement.setting_aliases import SAC_ALIASES
from rlcl.learners.reinforcement.target_networks import frozen_copy, polyak_update
from rlcl.learners.reinforcement.transition_batch import TransitionBatch, n_step_batch
from rlcl.learners.reinforcement.twin_critics import build_twin_critics, critic_inputs
from rlcl.networks.mlp import Mlp
from rlcl.networks.task_ids import call_network
from rlcl.types import Batch, Graph, Network, OptimizerFactory, Transitions

__all__ = ["Sac"]

Array = np.ndarray[Any, Any]


@define(kw_only=True, eq=False)
class Sac(OffPolicyLearner):
    """Soft actor-critic: an actor that maximizes return and entropy, with twin critics and a learned temperature.

    Logged values of the last update of each round: ``critic_loss`` (half the sum of both critics' mean squared errors),
    ``actor_loss`` (mean of temperature times log-density, minus the minimum value of both critics), ``entropy`` (minus
    the mean log-density, in nats), ``temperature`` (weight of the entropy), ``value`` (mean value of the minibatch's
    actions by both critics).

    Args:
        network: network architecture of the actor and of each critic; the input of a critic is the concatenation of
            observation and action.
        optimizer: optimizer of the actor, of the critics, and of the temperature.
        tau: weight of the critics in the Polyak average of the target critics at each update; 1 copies the weights.
        entropy: a fixed temperature, or ``auto`` to learn it, so that the entropy approaches ``target_entropy``.
        target_entropy: target of the entropy in nats; null for minus the number of an action's dimensions.
        temperature: initial temperature, if it is learned.

    Source: Haarnoja et al. 2018, Soft actor-critic algorithms and applications, eqs. 5, 7 and 18, and algorithm 1.
    """

    aliases: ClassVar[Mapping[str, Alias]] = SAC_ALIASES

    network: Network = option(factory=lambda: Mlp(hidden=(256, 256)))
    optimizer: OptimizerFactory = option(factory=lambda: Adam(lr=3e-4))
    tau: float = option(0.005, gt=0, le=1)
    entropy: float | Literal["auto"] = option("auto", ge=0)
    target_entropy: float | None = option(None)
    temperature: float = option(1.0, gt=0)

    actor: nn.Module = field(init=False, default=None)
    critic: StackedTwins | SeparateTwins = field(init=False, default=None)
    _target: nn.Module = field(init=False, default=None)
    _optimizers: dict[str, Optimizer] = field(init=False, factory=dict)
    _log_temperature: nn.Parameter = field(init=False, default=None)
    _temperature_optimizer: Optimizer | None = field(init=False, default=None)
    _target_entropy: float = field(init=False, default=0.0)
    _shape: tuple[int, ...] = field(init=False, default=())  # of one encoded observation
    _passes: dict[str, Passes] = field(init=False, factory=dict)
    _weights: dict[str, Tensor] = field(init=False, factory=dict)
    _actions: BoundedActions = field(init=False, default=None)
    _noise: torch.Generator = field(init=False, default=None)

    @property
    def kind(self) -> str:
        return "gaussian"

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"actor": self.actor, "critic": self.critic}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return self._optimizers

    @property
    def target_networks(self) -> Mapping[str, nn.Module]:
        return {"critic": self._target}

    @property
    def _networks(self) -> dict[str, nn.Module]:
        return {**self.modules, "target": self._target}

    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        device, name = self._setup.device, self.name
        self._actions = bounded_actions(actions, name)
        dims = self._actions.dims
        self.actor = self.build_network(self.network, shape, 2 * dims).to(device)
        self._shape = shape
        self.critic = self._build_critics()
        self._target = frozen_copy(self.critic)
        self._weights = {key: pack_parameters(module.parameters()) for key, module in self._networks.items()}
        self._optimizers = {
            key: build_optimizer(self.optimizer, list(module.parameters())) for key, module in self.modules.items()
        }
        initial = self.temperature if self.entropy == "auto" else max(self.entropy, 1e-38)  # log(0) is not finite
        self._log_temperature = nn.Parameter(torch.tensor(math.log(initial), device=device))
        if self.entropy == "auto":
            self._target_entropy = -float(dims) if self.target_entropy is None else self.target_entropy
            self._temperature_optimizer = build_optimizer(self.optimizer, [self._log_temperature])
        self._noise = self._setup.seeds.child("noise").torch()
        self.make_replay_buffer(shape, (dims,), np.float32, num_envs)

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
        for critic in (self.critic, self._target):
            critic.load_state_dict(weights)
        self._optimizers["critic"].state.clear()

    def ready(self) -> None:
        self.acting = self.acting_forward(self.actor)
        self._passes = {key: passes_of(module) for key, module in self._networks.items()}

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        outputs = call_network(self.actor, x, task_ids)
        mean, log_std = torch.chunk(outputs, 2, 1)
        return torch.cat((mean, log_std.clamp(*LOG_STD)), 1)

    @property
    def exploration_parameters(self) -> Sequence[tuple[nn.Parameter, Optimizer]]:
        """The logarithm of the temperature, if it is learned."""
        optimizer = self._temperature_optimizer
        return () if optimizer is None else ((self._log_temperature, optimizer),)

    @property
    def all_optimizers(self) -> Sequence[Optimizer]:
        return (*self.optimizers.values(), *(optimizer for _, optimizer in self.exploration_parameters))

    @property
    def samples_actions(self) -> bool:
        return True

    def sampled_actions(self, observations: Array, masks: Array | None, rng: np.random.Generator) -> Array:
        return self.for_environment(self._sample(observations, rng))

    def act(self, observations: Array, masks: Array | None = None) -> Array:
        return self.for_environment(np.tanh(self.acting(observations)[:, : self._actions.dims]))

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        return self.policy_graph(self.actor, self._actions.greedy)

    def random_actions(self, count: int) -> Array:
        return self._actions.random(count, self.rng)

    def explore(self, observations: Array, progress: float) -> Array:
        return self._sample(observations, self.rng)

    def _sample(self, observations: Array, rng: np.random.Generator) -> Array:
        outputs, dims = self.acting(observations), self._actions.dims
        noise = rng.standard_normal((len(outputs), dims), dtype=np.float32)
        std = np.exp(np.clip(outputs[:, dims:], *LOG_STD))
        actions: Array = np.tanh(outputs[:, :dims] + std * noise)
        return actions

    def for_environment(self, actions: Array) -> Array:
        return self._actions.for_environment(actions)

    def update_on(self, batch: TransitionBatch) -> Tensor:
        for minibatch in batch.split(self.batch_size):
            logged = self._update(minibatch)
        errors = logged.pop("errors")
        self.log(**logged)
        return errors

    def _update(self, batch: TransitionBatch) -> dict[str, Tensor]:
        ids = batch.task_ids
        self.batch = Batch(batch.observations, task_ids=ids)
        temperature = self._log_temperature.detach().exp()
        noise, next_noise = self._sample_noise(batch.actions), self._sample_noise(batch.actions)
        next_actions, next_log_probs, *_ = self._sample_actions(batch.next_observations, next_noise, ids)
        # This is the actor's last forward pass, so that its backward pass below refers to it.
        actions, log_probs, by_outputs = self._sample_actions(batch.observations, noise, ids)
        self._update_temperature(log_probs)
        next_values = self._passes["target"].forward(critic_inputs(batch.next_observations, next_actions), ids).amin(0)
        targets = bootstrapped_targets(batch.rewards, batch.discounts, next_values - temperature * next_log_probs)
        critic = self._passes["critic"]
        predicted = critic.forward(critic_inputs(batch.observations, batch.actions), ids)
        critic.backward(twin_loss_gradient(predicted, targets, batch.weights).mul_(0.5))
        self._optimizers["critic"].step()
        actor_values = critic.forward(critic_inputs(batch.observations, actions), ids)
        by_log_prob, by_values = soft_policy_loss_gradient(actor_values, temperature)
        by_inputs = critic.backward(by_values, weights=False, inputs=True)
        assert by_inputs is not None
        self._passes["actor"].backward(by_outputs(by_inputs[:, -actions.shape[1] :], by_log_prob))
        self._optimizers["actor"].step()
        polyak_update(self._weights["target"], self._weights["critic"], self.tau)
        return {
            "errors": (predicted - targets).abs().mean(0),
            "critic_loss": 0.5 * twin_loss(predicted, targets, batch.weights),
            "actor_loss": soft_policy_loss(log_probs, actor_values, temperature),
            "entropy": -log_probs.mean(),
            "temperature": temperature,
            "value": predicted.mean(),
        }

    def transition_loss(self, module: str, transitions: Transitions, rng: np.random.Generator) -> Tensor:
        batch = n_step_batch(transitions, self.gamma, self.n_step)
        temperature, ids = self._log_temperature.detach().exp(), batch.task_ids
        noise = torch.from_numpy(rng.standard_normal(batch.actions.shape, np.float32)).to(batch.actions.device)
        if module == "actor":
            actions, log_probs = self._squashed(batch.observations, noise, ids)
            values = call_network(self.critic, critic_inputs(batch.observations, actions), ids)
            return soft_policy_loss(log_probs, values, temperature)
        with torch.no_grad():
            next_actions, next_log_probs = self._squashed(batch.next_observations, noise, ids)
            next_values = call_network(self._target, critic_inputs(batch.next_observations, next_actions), ids).amin(0)
            targets = bootstrapped_targets(batch.rewards, batch.discounts, next_values - temperature * next_log_probs)
        predicted = call_network(self.critic, critic_inputs(batch.observations, batch.actions), ids)
        return 0.5 * twin_loss(predicted, targets)

    def _squashed(self, x: Tensor, noise: Tensor, task_ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return differentiable actions (B, D) and their log-densities (B,)."""
        mean, log_std = self.outputs(x, task_ids).chunk(2, 1)
        return squashed_gaussian(mean, log_std, noise)[:2]

    def _sample_noise(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self._noise).to(like.device)

    def _sample_actions(
        self, x: Tensor, noise: Tensor, task_ids: Tensor | None
    ) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """Sample actions of the actor for observations, noise and task ids.

        Returns:
            Actions (B, D), log-densities (B,), and the function from a loss's derivatives by both to the derivative by
            the actor's outputs.
        """
        mean, log_std = torch.chunk(self._passes["actor"].forward(x, task_ids), 2, 1)
        actions, log_probs, scaled_noise = squashed_gaussian(mean, log_std.clamp(*LOG_STD), noise)

        def by_outputs(by_actions: Tensor, by_log_prob: Tensor) -> Tensor:
            by_mean, by_log_std = squashed_gaussian_gradient(by_actions, by_log_prob, actions, scaled_noise)
            unclipped = (log_std >= LOG_STD[0]) & (log_std <= LOG_STD[1])
            return torch.cat((by_mean, by_log_std * unclipped), 1)

        return actions, log_probs, by_outputs

    def _update_temperature(self, log_probs: Tensor) -> None:
        """Update the temperature by one step on :func:`rlcl.learners.reinforcement.losses.temperature_loss`."""
        if self._temperature_optimizer is None:
            return
        self._log_temperature.grad = temperature_loss_gradient(log_probs, self._target_entropy)
        for group in self._temperature_optimizer.param_groups:
            group["lr"] = self._optimizers["actor"].param_groups[0]["lr"]
        self._temperature_optimizer.step()

    def own_state(self) -> dict[str, Any]:
        optimizer = self._temperature_optimizer
        return {
            "log_temperature": self._log_temperature,
            "temperature_optimizer": None if optimizer is None else optimizer.state_dict(),
            "noise": self._noise.get_state(),
        }

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            self._log_temperature.copy_(state["log_temperature"])
        if self._temperature_optimizer is not None:
            self._temperature_optimizer.load_state_dict(state["temperature_optimizer"])
        self._noise.set_state(state["noise"])
