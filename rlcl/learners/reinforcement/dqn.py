"""Deep Q-learning, with what has been added to it since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from attrs import define, field, frozen
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.fast.backprop import Passes, passes_of
from rlcl.learners.fast.forward import Forward, forward_of
from rlcl.learners.fast.fused_adam import lay_out
from rlcl.learners.optimizers import Adam, built_optimizer
from rlcl.learners.reinforcement.actions import allowed, masked
from rlcl.learners.reinforcement.losses import huber_loss, huber_loss_gradient
from rlcl.learners.reinforcement.off_policy import Drawn, OffPolicyLearner, followed, frozen_copy
from rlcl.learners.reinforcement.policy_graphs import policy_graph
from rlcl.learners.reinforcement.values import (
    bootstrapped,
    chosen,
    dueling_gradient,
    dueling_values,
    following_values,
    spread,
)
from rlcl.networks.mlp import Mlp
from rlcl.networks.tried import tried
from rlcl.types import Batch, Graph, Network, OptimizerFactory

__all__ = ["Dqn", "Exploration"]

Array = np.ndarray[Any, Any]


@frozen(kw_only=True)
class Exploration:
    """The probability of a random action, falling linearly.

    Args:
        start: probability of a random action at first.
        end: probability of a random action from ``share`` on.
        share: of what schedules run over (the budget of an experience, or of the stream), during which it falls.
    """

    start: float = option(1.0, ge=0, le=1)
    end: float = option(0.05, ge=0, le=1)
    share: float = option(0.1, gt=0, le=1)

    def __call__(self, progress: float) -> float:
        return self.end + (self.start - self.end) * max(0.0, 1 - progress / self.share)


@define(kw_only=True, eq=False)
class Dqn(OffPolicyLearner):
    """Learns the value of each action, and takes the best, but for random ones while it learns.

    ``double``, ``dueling``, ``n_step`` and ``prioritised`` combine; all of them are Rainbow without its noise and its
    distributions. The probability of a random action holds between two rounds of updates. Actions that an environment
    forbids (:mod:`rlcl.data.environments.action_masks`) are never taken, nor are their values learned towards.

    Events tell, of the last update of each round: ``loss`` (mean Huber loss), ``value`` (mean value of the minibatch's
    actions); of all env steps ``exploration``, the probability of a random action.

    Args:
        network: from observations to the values of all actions.
        optimizer: of its weights.
        double: whether the network that learns chooses the action that the target network values.
        dueling: whether the network gives a state's value and the actions' advantages, both linear in what its
            last hidden layer gives.
        tau: share of the way that the target network goes towards the network that learns.
        target_interval: env steps, over all environments, between two moves of the target network.
        exploration: the probability of a random action.
        clip_norm: the greatest norm of the gradient; null for any.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning, algorithm 1; double: van Hasselt
    et al. 2016; dueling: Wang et al. 2016; prioritised: Schaul et al. 2016; n steps: Hessel et al. 2018.
    """

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
    acting: Forward = field(init=False, default=None)
    _actions: int = field(init=False, default=0)
    _start: int = field(init=False, default=0)
    passes: Passes = field(init=False, default=None)
    target_passes: Passes = field(init=False, default=None)
    weights: list[Tensor] = field(init=False, factory=list)  # of the network, and of its target
    _moves: int = field(init=False, default=0)  # of the target network that have been due

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
    def targets(self) -> Mapping[str, nn.Module]:
        return {"policy": self.target}

    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        if not isinstance(actions, gym.spaces.Discrete):
            raise UnsupportedError(
                f"learner {self.name} chooses one of a few actions (Discrete), and these are {actions}; use "
                f"{'ppo, sac or td3' if isinstance(actions, gym.spaces.Box) else 'ppo'}"
            )
        self._actions, self._start = int(actions.n), int(actions.start)
        outputs = self._actions + self.dueling
        self.policy = tried(self.network.build(shape, outputs, 1), self.network, shape, outputs).to(self._setup.device)
        self.target = frozen_copy(self.policy)
        self.weights = [lay_out(module.parameters()) for module in (self.policy, self.target)]
        self.torch_optimizer = built_optimizer(self.optimizer, list(self.policy.parameters()))
        self.keep(shape, (), np.int64, num_envs)

    def ready(self) -> None:
        self.acting = forward_of(self.policy)
        self.passes, self.target_passes = passes_of(self.policy), passes_of(self.target)

    def _values(self, outputs: Tensor) -> Tensor:
        return dueling_values(outputs) if self.dueling else outputs

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        return self._values(self.policy(x))

    @property
    def takes_action_masks(self) -> bool:
        return True

    def _best(self, observations: Array, masks: Array | None) -> Array:
        outputs = self.acting(observations)
        best: Array = masked(outputs[:, 1:] if self.dueling else outputs, masks).argmax(1)
        return best

    def act(self, observations: Array, masks: Array | None = None) -> Array:
        return self.for_environment(self._best(observations, masks))

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`: by the advantages, which order actions as their values do."""
        count, start = self._actions, self._start
        return policy_graph(
            self.encoder, self.policy, lambda y: y[:, -count:].argmax(1) + start, lambda y: y[:, -count:]
        )

    def random_actions(self, count: int) -> Array:
        if self._allowed is None:
            return self.rng.integers(self._actions, size=count)
        drawn: Array = np.where(self._allowed, self.rng.random(self._allowed.shape), -1).argmax(1)
        return drawn

    def explore(self, observations: Array, progress: float) -> Array:
        probability = self.exploration(progress)
        self.log(exploration=probability)
        at_random = self.rng.random(len(observations)) < probability
        actions = self.random_actions(len(observations))
        return actions if at_random.all() else np.where(at_random, actions, self._best(observations, self._allowed))

    def for_environment(self, actions: Array) -> Array:
        return actions + self._start

    def improve(self, lesson: Drawn) -> Tensor:
        # The target network rests within a round: one pass values what follows in all of its minibatches.
        valued = allowed(self._values(self.target_passes.forward(lesson.following)), lesson.masks)
        following = torch.split(valued, self.batch_size, -2)
        for batch, values in zip(lesson.split(self.batch_size), following, strict=True):
            online = None
            if self.double:
                online = allowed(self._values(self.passes.forward(batch.following)), batch.masks)
            wanted = bootstrapped(batch.rewards, batch.discounts, following_values(values, online))
            self.batch = Batch(batch.observations)
            predicted = chosen(self._values(self.passes.forward(batch.observations)), batch.actions)
            gradient = spread(huber_loss_gradient(predicted, wanted, batch.weights), batch.actions, self._actions)
            self.passes.backward(dueling_gradient(gradient) if self.dueling else gradient)
            self.torch_optimizer.step()
        self.log(loss=huber_loss(predicted, wanted, batch.weights), value=predicted.mean(-1))
        return predicted - wanted

    def begin_round(self) -> None:
        """Makes the moves of the target network that have come due; while nothing was learned it had nowhere to go."""
        due = (self.position.step + self.steps_per_round) // self.target_interval
        if due > self._moves:
            followed(self.weights[1], self.weights[0], 1 - (1 - self.tau) ** (due - self._moves))
        self._moves = due

    def own_state(self) -> dict[str, Any]:
        return {"moves": self._moves}

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        self._moves = state["moves"]
