"""Deep Q-network with double and dueling Q-learning, n-step returns and prioritized replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from attrs import define, field, frozen
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.config.aliases import Alias
from rlcl.errors import UnsupportedError
from rlcl.learners.fast.backprop import Passes, passes_of
from rlcl.learners.fast.fused_adam import pack_parameters
from rlcl.learners.optimizers import Adam, build_optimizer
from rlcl.learners.reinforcement.action_distributions import mask_array, mask_tensor
from rlcl.learners.reinforcement.action_values import (
    bootstrapped_targets,
    chosen_values,
    chosen_values_gradient,
    dueling_gradient,
    dueling_values,
    next_state_values,
)
from rlcl.learners.reinforcement.losses import huber_loss, huber_loss_gradient
from rlcl.learners.reinforcement.off_policy import OffPolicyLearner
from rlcl.learners.reinforcement.setting_aliases import DQN_ALIASES
from rlcl.learners.reinforcement.target_networks import frozen_copy, polyak_update
from rlcl.learners.reinforcement.transition_batch import TransitionBatch, n_step_batch
from rlcl.networks.mlp import Mlp
from rlcl.networks.task_ids import call_network
from rlcl.types import Batch, Graph, Network, OptimizerFactory, Transitions

__all__ = ["Dqn", "Exploration"]

Array = np.ndarray[Any, Any]


@frozen(kw_only=True)
class Exploration:
    """Linear schedule of the probability of random actions.

    Args:
        start: initial probability of a random action.
        end: final probability of a random action, from ``share`` on.
        share: fraction of the budget over which the probability decreases. The budget is that of the experience or of
            the stream (see ``schedule_over`` of the learner).
    """

    start: float = option(1.0, ge=0, le=1)
    end: float = option(0.05, ge=0, le=1)
    share: float = option(0.1, gt=0, le=1)

    def __call__(self, progress: float) -> float:
        return self.end + (self.start - self.end) * max(0.0, 1 - progress / self.share)


@define(kw_only=True, eq=False)
class Dqn(OffPolicyLearner):
    """Deep Q-network with epsilon-greedy exploration.

    ``double``, ``dueling``, ``n_step`` and ``prioritised`` can be combined; together they are Rainbow without noisy
    networks and without distributional values. The probability of a random action is constant between two rounds of
    updates. Actions that an environment forbids (:mod:`rlcl.data.environments.action_masks`) are never taken, and their
    values are excluded from targets.

    Logged values of the last update of each round: ``loss`` (mean Huber loss), ``value`` (mean value of the minibatch's
    actions). Logged at each env step: ``exploration``, the probability of a random action.

    Args:
        network: network from observations to the values of all actions.
        optimizer: optimizer of the network.
        double: whether the online network selects the action that the target network evaluates.
        dueling: whether the outputs are a state value and advantages of actions, both linear in the last hidden layer.
        tau: weight of the online network in the Polyak average of the target network; 1 copies the weights.
        target_interval: env steps, summed over all environments, between two updates of the target network.
        exploration: schedule of the probability of random actions.
        clip_norm: maximum norm of the gradient; null for no clipping.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning, algorithm 1; double: van Hasselt
    et al. 2016; dueling: Wang et al. 2016; prioritized: Schaul et al. 2016; n steps: Hessel et al. 2018.
    """

    aliases: ClassVar[Mapping[str, Alias]] = DQN_ALIASES

    network: Network = option(factory=lambda: Mlp(hidden=(64, 64)))
    optimizer: OptimizerFactory = option(factory=lambda: Adam(lr=1e-4))
    batch_size: int = option(32, ge=1)
    train_every: int = option(4, ge=1)
    double: bool = option(False)
    dueling: bool = option(False)
    tau: float = option(1.0, gt=0, le=1)
    target_interval: int = option(10_000, ge=1)
    exploration: Exploration = option(factory=Exploration)
    clip_norm: float | None = option(10.0, gt=0)

    policy: nn.Module = field(init=False, default=None)
    target: nn.Module = field(init=False, default=None)
    torch_optimizer: Any = field(init=False, default=None)
    _actions: int = field(init=False, default=0)  # number of actions
    _start: int = field(init=False, default=0)  # first action of the space
    passes: Passes = field(init=False, default=None)
    target_passes: Passes = field(init=False, default=None)
    weights: list[Tensor] = field(init=False, factory=list)  # of the online network, and of the target network
    _target_updates: int = field(init=False, default=0)  # number of target updates that have been due

    @property
    def kind(self) -> str:
        return "values"

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"policy": self.policy}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return {"policy": self.torch_optimizer}

    @property
    def target_networks(self) -> Mapping[str, nn.Module]:
        return {"policy": self.target}

    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        if not isinstance(actions, gym.spaces.Discrete):
            raise UnsupportedError(
                f"learner {self.name} needs a discrete action space (Discrete), got {actions}; use "
                f"{'ppo, sac or td3' if isinstance(actions, gym.spaces.Box) else 'ppo'}"
            )
        self._actions, self._start = int(actions.n), int(actions.start)
        outputs = self._actions + self.dueling
        self.policy = self.build_network(self.network, shape, outputs).to(self._setup.device)
        self.target = frozen_copy(self.policy)
        self.weights = [pack_parameters(module.parameters()) for module in (self.policy, self.target)]
        self.torch_optimizer = build_optimizer(self.optimizer, list(self.policy.parameters()))
        self.make_replay_buffer(shape, (), np.int64, num_envs)

    def ready(self) -> None:
        self.acting = self.acting_forward(self.policy)
        self.passes, self.target_passes = passes_of(self.policy), passes_of(self.target)

    def _values(self, outputs: Tensor) -> Tensor:
        return dueling_values(outputs) if self.dueling else outputs

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        return self._values(call_network(self.policy, x, task_ids))

    @property
    def takes_action_masks(self) -> bool:
        return True

    def _greedy(self, observations: Array, masks: Array | None) -> Array:
        outputs = self.acting(observations)
        actions: Array = mask_array(outputs[:, 1:] if self.dueling else outputs, masks).argmax(1)
        return actions

    def act(self, observations: Array, masks: Array | None = None) -> Array:
        return self.for_environment(self._greedy(observations, masks))

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`; scores of a dueling network are its advantages."""
        count, start = self._actions, self._start
        return self.policy_graph(self.policy, lambda y: y[:, -count:].argmax(1) + start, lambda y: y[:, -count:])

    def random_actions(self, count: int) -> Array:
        if self._action_masks is None:
            return self.rng.integers(self._actions, size=count)
        actions: Array = np.where(self._action_masks, self.rng.random(self._action_masks.shape), -1).argmax(1)
        return actions

    def explore(self, observations: Array, progress: float) -> Array:
        probability = self.exploration(progress)
        self.log(exploration=probability)
        at_random = self.rng.random(len(observations)) < probability
        actions = self.random_actions(len(observations))
        if at_random.all():
            return actions
        return np.where(at_random, actions, self._greedy(observations, self._action_masks))

    def for_environment(self, actions: Array) -> Array:
        return actions + self._start

    def update_on(self, batch: TransitionBatch) -> Tensor:
        # The target network is constant within a round: one forward pass evaluates the next states of all minibatches.
        next_outputs = self.target_passes.forward(batch.next_observations, batch.task_ids)
        next_values = mask_tensor(self._values(next_outputs), batch.masks)
        parts = torch.split(next_values, self.batch_size, -2)
        for minibatch, values in zip(batch.split(self.batch_size), parts, strict=True):
            online = None
            if self.double:
                outputs = self.passes.forward(minibatch.next_observations, minibatch.task_ids)
                online = mask_tensor(self._values(outputs), minibatch.masks)
            targets = bootstrapped_targets(minibatch.rewards, minibatch.discounts, next_state_values(values, online))
            self.batch = Batch(minibatch.observations, task_ids=minibatch.task_ids)
            outputs = self.passes.forward(minibatch.observations, minibatch.task_ids)
            predicted = chosen_values(self._values(outputs), minibatch.actions)
            gradient = chosen_values_gradient(
                huber_loss_gradient(predicted, targets, minibatch.weights), minibatch.actions, self._actions
            )
            self.passes.backward(dueling_gradient(gradient) if self.dueling else gradient)
            self.torch_optimizer.step()
        self.log(loss=huber_loss(predicted, targets, minibatch.weights), value=predicted.mean(-1))
        return predicted - targets

    def transition_loss(self, module: str, transitions: Transitions, rng: np.random.Generator) -> Tensor:
        batch = n_step_batch(transitions, self.gamma, self.n_step)
        with torch.no_grad():
            values = self._values(call_network(self.target, batch.next_observations, batch.task_ids))
            online = self.outputs(batch.next_observations, batch.task_ids) if self.double else None
            next_values = next_state_values(
                mask_tensor(values, batch.masks), None if online is None else mask_tensor(online, batch.masks)
            )
            targets = bootstrapped_targets(batch.rewards, batch.discounts, next_values)
        return huber_loss(chosen_values(self.outputs(batch.observations, batch.task_ids), batch.actions), targets)

    def begin_round(self) -> None:
        """Make the target updates that are due, those before ``learning_starts`` included, as one Polyak update."""
        due = (self.position.step + self.steps_per_round) // self.target_interval
        if due > self._target_updates:
            polyak_update(self.weights[1], self.weights[0], 1 - (1 - self.tau) ** (due - self._target_updates))
        self._target_updates = due

    def own_state(self) -> dict[str, Any]:
        return {"moves": self._target_updates}

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        self._target_updates = state["moves"]
