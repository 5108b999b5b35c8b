"""Soft actor-critic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

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
from rlcl.learners.reinforcement.bounded import LOG_STD, Bounded, bounded, squashed, squashed_gradient
from rlcl.learners.reinforcement.critics import critics, rows
from rlcl.learners.reinforcement.losses import (
    soft_policy_loss,
    soft_policy_loss_gradient,
    temperature_loss_gradient,
    twin_loss,
    twin_loss_gradient,
)
from rlcl.learners.reinforcement.off_policy import Drawn, OffPolicyLearner, followed, frozen_copy
from rlcl.learners.reinforcement.policy_graphs import policy_graph
from rlcl.learners.reinforcement.values import bootstrapped
from rlcl.networks.mlp import Mlp
from rlcl.networks.tried import tried
from rlcl.types import Batch, Graph, Network, OptimizerFactory

__all__ = ["Sac"]

Array = np.ndarray[Any, Any]


@define(kw_only=True, eq=False)
class Sac(OffPolicyLearner):
    """Learns a policy that is worth much and stays as random as it can, and two critics whose lesser value counts.

    Events tell, of the last update of each round: ``critic_loss`` (half the sum of both critics' mean squared errors),
    ``actor_loss`` (mean of temperature times log-density, less the lesser value), ``entropy`` (minus the mean
    log-density, nats), ``temperature`` (the factor of the entropy), ``value`` (mean of both critics for the minibatch's
    actions).

    Args:
        network: of the actor, and of each critic, which reads observation and action in one row.
        optimizer: of the actor, of the critics, and of the temperature.
        tau: share of the way that the target critics go towards the critics at each update.
        entropy: the temperature, a number, or ``auto``: it is learned, so that the entropy nears ``target_entropy``.
        target_entropy: in nats; null for minus the number of an action's dimensions.
        temperature: at first, where it is learned.

    Source: Haarnoja et al. 2018, Soft actor-critic algorithms and applications, eqs. 5, 7 and 18, and algorithm 1.
    """

    network: Network = option(factory=lambda: Mlp(hidden=(256, 256)))
    optimizer: OptimizerFactory = option(factory=lambda: Adam(lr=3e-4))
    tau: float = option(0.005, gt=0, le=1)
    entropy: float | Literal["auto"] = option("auto", ge=0)
    target_entropy: float | None = option(None)
    temperature: float = option(1.0, gt=0)

    actor: nn.Module = field(init=False, default=None)
    critic: Twins | Apart = field(init=False, default=None)
    _target: nn.Module = field(init=False, default=None)
    _optimizers: dict[str, Optimizer] = field(init=False, factory=dict)
    _log_temperature: nn.Parameter = field(init=False, default=None)
    _temperature_optimizer: Optimizer | None = field(init=False, default=None)
    _wanted_entropy: float = field(init=False, default=0.0)
    _passes: dict[str, Passes] = field(init=False, factory=dict)
    _weights: dict[str, Tensor] = field(init=False, factory=dict)
    _actions: Bounded = field(init=False, default=None)
    _acting: Forward = field(init=False, default=None)
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
    def targets(self) -> Mapping[str, nn.Module]:
        return {"critic": self._target}

    @property
    def _networks(self) -> dict[str, nn.Module]:
        return {**self.modules, "target": self._target}

    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        device, name = self._setup.device, self.name
        self._actions = bounded(actions, name)
        numbers = self._actions.numbers
        self.actor = tried(self.network.build(shape, 2 * numbers, 1), self.network, shape, 2 * numbers).to(device)
        self.critic = critics(self.network, shape, numbers).to(device)
        self._target = frozen_copy(self.critic)
        self._weights = {key: lay_out(module.parameters()) for key, module in self._networks.items()}
        self._optimizers = {
            key: built_optimizer(self.optimizer, list(module.parameters())) for key, module in self.modules.items()
        }
        start = self.temperature if self.entropy == "auto" else max(self.entropy, 1e-38)  # the log of 0 is not finite
        self._log_temperature = nn.Parameter(torch.tensor(math.log(start), device=device))
        if self.entropy == "auto":
            self._wanted_entropy = -float(numbers) if self.target_entropy is None else self.target_entropy
            self._temperature_optimizer = built_optimizer(self.optimizer, [self._log_temperature])
        self._acting = forward_of(self.actor)
        self._noise = self._setup.seeds.child("noise").torch()
        self.keep(shape, (numbers,), np.float32, num_envs)

    def ready(self) -> None:
        self._passes = {key: passes_of(module) for key, module in self._networks.items()}

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        mean, log_std = torch.chunk(self.actor(x), 2, 1)
        return torch.cat((mean, log_std.clamp(*LOG_STD)), 1)

    @property
    def explored(self) -> Sequence[tuple[nn.Parameter, Optimizer]]:
        """The temperature, where it is learned."""
        tuned = self._temperature_optimizer
        return () if tuned is None else ((self._log_temperature, tuned),)

    @property
    def all_optimizers(self) -> Sequence[Optimizer]:
        return (*self.optimizers.values(), *(optimizer for _, optimizer in self.explored))

    def act(self, observations: Array, masks: Array | None = None) -> Array:
        return self.for_environment(np.tanh(self._acting(observations)[:, : self._actions.numbers]))

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        return policy_graph(self.encoder, self.actor, self._actions.greedy)

    def random_actions(self, count: int) -> Array:
        return self._actions.random(count, self.rng)

    def explore(self, observations: Array, progress: float) -> Array:
        outputs, numbers = self._acting(observations), self._actions.numbers
        noise = self.rng.standard_normal((len(outputs), numbers), dtype=np.float32)
        drawn: Array = np.tanh(outputs[:, :numbers] + np.exp(np.clip(outputs[:, numbers:], *LOG_STD)) * noise)
        return drawn

    def for_environment(self, actions: Array) -> Array:
        return self._actions.for_environment(actions)

    def improve(self, lesson: Drawn) -> Tensor:
        for batch in lesson.split(self.batch_size):
            told = self._update(batch)
        errors = told.pop("errors")
        self.log(**told)
        return errors

    def _update(self, batch: Drawn) -> dict[str, Tensor]:
        self.batch = Batch(batch.observations)
        temperature = self._log_temperature.detach().exp()
        noise, next_noise = self._drawn_noise(batch.actions), self._drawn_noise(batch.actions)
        next_actions, next_log_probs, *_ = self._acted(batch.following, next_noise)
        actions, log_probs, by_outputs = self._acted(
            batch.observations, noise
        )  # the actor's last pass, which goes back
        self._warm(log_probs)
        values = self._passes["target"].forward(rows(batch.following, next_actions)).amin(0)
        wanted = bootstrapped(batch.rewards, batch.discounts, values - temperature * next_log_probs)
        critic = self._passes["critic"]
        predicted = critic.forward(rows(batch.observations, batch.actions))
        critic.backward(twin_loss_gradient(predicted, wanted, batch.weights).mul_(0.5))
        self._optimizers["critic"].step()
        both = critic.forward(rows(batch.observations, actions))
        by_log_prob, by_values = soft_policy_loss_gradient(both, temperature)
        by_rows = critic.backward(by_values, weights=False, inputs=True)
        assert by_rows is not None
        self._passes["actor"].backward(by_outputs(by_rows[:, -actions.shape[1] :], by_log_prob))
        self._optimizers["actor"].step()
        followed(self._weights["target"], self._weights["critic"], self.tau)
        return {
            "errors": (predicted - wanted).abs().mean(0),
            "critic_loss": 0.5 * twin_loss(predicted, wanted, batch.weights),
            "actor_loss": soft_policy_loss(log_probs, both, temperature),
            "entropy": -log_probs.mean(),
            "temperature": temperature,
            "value": predicted.mean(),
        }

    def _drawn_noise(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self._noise).to(like.device)

    def _acted(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """Actions (B, D), log-densities (B,), and from a loss's derivatives by both to that by the outputs."""
        mean, log_std = torch.chunk(self._passes["actor"].forward(x), 2, 1)
        actions, log_probs, spread = squashed(mean, log_std.clamp(*LOG_STD), noise)

        def by_outputs(by_actions: Tensor, by_log_prob: Tensor) -> Tensor:
            by_mean, by_log_std = squashed_gradient(by_actions, by_log_prob, actions, spread)
            inside = (log_std >= LOG_STD[0]) & (log_std <= LOG_STD[1])
            return torch.cat((by_mean, by_log_std * inside), 1)

        return actions, log_probs, by_outputs

    def _warm(self, log_probs: Tensor) -> None:
        """One step of the temperature down :func:`rlcl.learners.reinforcement.losses.temperature_loss`."""
        if self._temperature_optimizer is None:
            return
        self._log_temperature.grad = temperature_loss_gradient(log_probs, self._wanted_entropy)
        for group in self._temperature_optimizer.param_groups:
            group["lr"] = self._optimizers["actor"].param_groups[0]["lr"]
        self._temperature_optimizer.step()

    def own_state(self) -> dict[str, Any]:
        learned = self._temperature_optimizer
        return {
            "log_temperature": self._log_temperature,
            "temperature_optimizer": None if learned is None else learned.state_dict(),
            "noise": self._noise.get_state(),
        }

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            self._log_temperature.copy_(state["log_temperature"])
        if self._temperature_optimizer is not None:
            self._temperature_optimizer.load_state_dict(state["temperature_optimizer"])
        self._noise.set_state(state["noise"])
