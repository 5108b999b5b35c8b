"""Proximal policy optimization."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.fast.backprop import give_gradient, passes_of
from rlcl.learners.fast.forward import Forward, forward_of
from rlcl.learners.fast.fused_adam import lay_out
from rlcl.learners.optimizers import Adam, built_optimizer
from rlcl.learners.reinforcement.actions import ActionDistribution, allowed, distribution_over, free_parameters, masked
from rlcl.learners.reinforcement.actor_critic import ActorCritic, ActorCriticPasses, scale_orthogonal
from rlcl.learners.reinforcement.collecting import Collector
from rlcl.learners.reinforcement.learner import ReinforcementLearner
from rlcl.learners.reinforcement.losses import ppo_loss, ppo_loss_gradient
from rlcl.learners.reinforcement.order import Columns, Order
from rlcl.learners.reinforcement.policy_graphs import policy_graph
from rlcl.learners.reinforcement.reach import out_of_reach
from rlcl.learners.reinforcement.recurrent import Recurrence, Recurrent, Remembering
from rlcl.learners.reinforcement.returns import explained_variance, generalized_advantages
from rlcl.learners.reinforcement.rollout import Rollout, rolled_out
from rlcl.methods.parts.modes import evaluating
from rlcl.networks.mlp import Mlp
from rlcl.networks.tried import tried
from rlcl.types import Batch, Graph, Network, OptimizerFactory

__all__ = ["Ppo"]

Array = np.ndarray[Any, Any]


class Lesson(NamedTuple):
    """A rollout, and the clip that holds for it."""

    columns: Columns
    clip: float | None


@define(kw_only=True, eq=False)
class Ppo(ReinforcementLearner):
    """Improves a policy by the advantages of what it has just done, no further than a clipped ratio allows.

    A rollout of ``n_steps`` in each environment is learned from for ``epochs`` passes of minibatches,
    then thrown away. With ``epochs: 1``, ``batch_size: null``, ``clip: null``, ``normalize_advantages: false``,
    ``gae_lambda: 1`` and ``n_steps: 5`` it is A2C (Huang et al. 2022, A2C is a special case of PPO).

    Events tell, of the last pass over each rollout: ``loss`` (:func:`rlcl.learners.reinforcement.losses.ppo_loss`, what
    it descends) and its terms ``policy_loss`` (the clipped surrogate, negated),
    ``value_loss`` (mean squared error of returns), ``entropy`` (nats), ``approx_kl`` (mean of
    ``ratio - 1 - log ratio``, Schulman 2020), ``clip_fraction`` (share of ratios outside the clip); of the
    rollout ``explained_variance`` of returns by values.

    Args:
        network: of the actor, and of the critic.
        shared: whether one network serves both, with a head for each.
        action_masks: whether actions that an environment forbids are left out
            (:mod:`rlcl.data.environments.action_masks`).
        optimizer: of both networks.
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
        recurrent: what actor and critic remember of an episode; null for nothing. A minibatch then is the whole rollout
            of as many environments as fit in ``batch_size``, and of at least one.

    Source: Schulman et al. 2017, Proximal policy optimization algorithms, eq. 7 and 9 and algorithm 1; details:
    Huang et al. 2022, The 37 implementation details of proximal policy optimization.
    """

    network: Network = option(factory=lambda: Mlp(hidden=(64, 64), activation="tanh", initialization="orthogonal"))
    shared: bool = option(False)
    action_masks: bool = option(True)
    optimizer: OptimizerFactory = option(factory=lambda: Adam(lr=3e-4, epsilon=1e-5))
    n_steps: int = option(2048, ge=1)
    batch_size: int | None = option(64, ge=1)
    epochs: int = option(10, ge=1)
    gae_lambda: float = option(0.95, ge=0, le=1)
    clip: float | None = option(0.2, gt=0)
    clip_schedule: bool = option(False)
    normalize_advantages: bool = option(True)
    entropy_weight: float = option(0.0)
    value_weight: float = option(0.5, ge=0)
    clip_norm: float | None = option(0.5, gt=0)
    target_kl: float | None = option(None, gt=0)
    log_std: float = option(0.0)
    recurrent: Recurrent | None = option(None)

    policy: ActorCritic = field(init=False, default=None)
    torch_optimizer: Any = field(init=False, default=None)
    passes: ActorCriticPasses = field(init=False, default=None)
    recurrence: Recurrence | None = field(init=False, default=None)
    distribution: ActionDistribution = field(init=False, default=None)
    acting: Forward = field(init=False, default=None)
    _num_envs: int = field(init=False, default=1)
    free: Tensor = field(init=False, default=None)  # (F,) parameters of the distribution
    order: Order = field(init=False, default=None)
    rollout_observations: Array = field(init=False, default=None)  # (T, N, *encoded) of the last rollout

    @property
    def kind(self) -> str:
        # What a policy that remembers gives is no function of one observation.
        return "other" if self.recurrent else self.distribution.kind

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"policy": self.policy}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return {"policy": self.torch_optimizer}

    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        self.distribution = distribution_over(actions)
        self._num_envs = num_envs
        widths = [self.distribution.outputs + 1] if self.shared else [self.distribution.outputs, 1]
        if self.recurrent and len(shape) == 3:
            raise UnsupportedError(
                f"learner {self.name}: recurrent reads observations in one row, and these are images of shape {shape}; "
                "make features of them by the encoder backbone, or stack a few by frame_stack instead"
            )
        read = (self.recurrent.size,) if self.recurrent else shape
        networks = [tried(self.network.build(read, width, 1), self.network, read, width) for width in widths]
        scale_orthogonal(networks[0], [0.01] * self.distribution.outputs + [1.0] * self.shared)
        if not self.shared:
            scale_orthogonal(networks[1], [1.0])
        if self.recurrent:
            networks = [Remembering(math.prod(shape), self.recurrent.size, network) for network in networks]
        free = free_parameters(self.distribution, self.log_std)
        self.policy = ActorCritic(networks[0], None if self.shared else networks[1], free).to(self._setup.device)
        parameters = list(self.policy.parameters())
        lay_out(parameters)
        self.torch_optimizer = built_optimizer(self.optimizer, parameters)
        if self.recurrent:
            self.recurrence = Recurrence(self.policy, num_envs, self._setup.device)
        self.order = Order(self._setup.seeds.child("shuffle").torch())
        self.rollout_observations = np.zeros((self.n_steps, num_envs, *shape), np.float32)

    def ready(self) -> None:
        self.acting = forward_of(self.policy.actor)
        self.passes = ActorCriticPasses([passes_of(network) for network in self.policy.side_by_side])
        self.free = torch.empty(0) if self.policy.free is None else self.policy.free

    @property
    def explored(self) -> Sequence[tuple[nn.Parameter, Optimizer]]:
        """The log standard deviations of continuous actions."""
        return () if self.policy.free is None else ((self.policy.free, self.torch_optimizer),)

    @property
    def steps_per_round(self) -> int:
        return self.n_steps * self._num_envs

    @property
    def takes_action_masks(self) -> bool:
        return self.action_masks and self.distribution.free == 0

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        return self.distribution.as_outputs(self.policy(x), self.free)

    def action_outputs(self, found: Array, masks: Array | None) -> Array:
        """(N, K) for actions, of what the actor's network gave."""
        return masked(found[:, :-1] if self.shared else found, masks)

    def cautions(self) -> Sequence[str]:
        """See :class:`rlcl.types.Cautious`."""
        space = self._setup.stream[0].environment.spaces()[1]
        said = out_of_reach(space, self.log_std) if isinstance(space, gym.spaces.Box) else None
        return () if said is None else (f"learner {self.name}: {said}",)

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        found, count = self.distribution, self.distribution.outputs  # a shared network gives the value beside
        return policy_graph(
            self.encoder,
            self.policy.actor,
            lambda y: found.greedy(y[:, :count]),
            lambda y: found.scores(y[:, :count]),
        )

    def act(self, observations: Array, masks: Array | None = None) -> Array:
        return self._greedy(self.acting(observations), masks)

    def act_on(self, observations: Array, masks: Array | None, state: Any) -> tuple[Array, Any]:
        if self.recurrence is None:
            return self.act(observations, masks), None
        found, state = self.recurrence.decide(observations, state)
        return self._greedy(found, masks), state

    def _greedy(self, found: Array, masks: Array | None) -> Array:
        return self.distribution.for_environment(self.distribution.mode(self.action_outputs(found, masks)))

    def recent(self) -> Array:
        return self.rollout_observations.reshape(-1, *self.rollout_observations.shape[2:])

    def collect(self, collector: Collector, progress: float) -> Rollout:
        free, distribution = self.free.detach().cpu().numpy(), self.distribution
        acting = self.acting if self.recurrence is None else self.recurrence.acting(collector)
        return rolled_out(
            collector,
            self.rollout_observations,
            lambda x, masks: distribution.draw(self.action_outputs(acting(x), masks), free, self.rng),
            distribution.for_environment,
        )

    def lessons(self, collected: Rollout, collector: Collector, progress: float) -> Iterator[Lesson]:
        self.rollout_observations = collected.observations
        clip = None if self.clip is None else self.clip * (1 - progress if self.clip_schedule else 1)
        yield Lesson(self._judged(collected), clip)

    def improve(self, lesson: Lesson) -> None:
        for epoch in range(self.epochs):
            if not self._pass(lesson.columns, lesson.clip, last=epoch == self.epochs - 1):
                break

    def _judged(self, rollout: Rollout) -> Columns:
        """What each transition is learned from by, in columns (T * N, ...)."""
        rows = rollout.rewards.size
        states, actions = self._tensor(rollout.states), self._tensor(rollout.actions)
        masks = None if rollout.masks is None else self._tensor(rollout.masks)
        with torch.no_grad() if self.passes.modeless else evaluating(self.policy):
            remembered: Columns = {}
            if self.recurrence is None:
                outputs, known = self.passes.forward(states)
            else:
                outputs, known, remembered = self.recurrence.judge(states, rollout)
            log_probs = self.distribution.log_prob(allowed(outputs[:rows], masks), self.free, actions)
        values, following = rollout.values_and_next(known.cpu().numpy())
        advantages = generalized_advantages(
            rollout.rewards, values, following, rollout.terminated, rollout.ended, self.gamma, self.gae_lambda
        )
        returns = advantages + values
        self.log(explained_variance=explained_variance(values, returns))
        columns = {
            "observations": states[:rows],
            "actions": actions,
            "log_probs": log_probs,
            "advantages": self._tensor(advantages.reshape(-1)),
            "returns": self._tensor(returns.reshape(-1)),
            **remembered,
        }
        return columns if masks is None else {**columns, "masks": masks}

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._setup.device)

    def _pass(self, columns: Columns, clip: float | None, last: bool) -> bool:
        """One pass over a rollout; False where the policy has moved far enough."""
        for part in self._minibatches(columns):
            self.batch = Batch(part["observations"])
            outputs, values = self._forward(part)
            outputs, actions, free = allowed(outputs, part.get("masks")), part["actions"], self.free.detach()
            log_ratio = self.distribution.log_prob(outputs, free, actions) - part["log_probs"]
            advantages = part["advantages"]
            if self.normalize_advantages and advantages.shape[-1] > 1:
                mean, deviation = advantages.mean(-1, keepdim=True), advantages.std(-1, keepdim=True)
                advantages = (advantages - mean) / (deviation + 1e-8)
            compared, factors = (log_ratio, advantages, clip, values, part["returns"]), self._factors
            if last or self.target_kl is not None:
                entropy = self.distribution.entropy(outputs, free).mean(-1)
                self.log(**ppo_loss(*compared, entropy, *factors)._asdict())
                kl = self._moved(log_ratio, clip)
                if self.target_kl is not None and float(kl) > 1.5 * self.target_kl:
                    return False
            by_log_prob, by_values, by_entropy = ppo_loss_gradient(*compared, *factors)
            by_outputs, by_free = self.distribution.gradient(outputs, free, actions, by_log_prob, by_entropy)
            (self.recurrence or self.passes).backward(by_outputs, by_values)
            if self.distribution.free:
                give_gradient(self.free, by_free)
            self.torch_optimizer.step()
        return True

    @property
    def _factors(self) -> tuple[float, float]:
        return self.value_weight, self.entropy_weight

    def _forward(self, part: Columns) -> tuple[Tensor, Tensor]:
        return self.passes.forward(part["observations"]) if self.recurrence is None else self.recurrence.forward(part)

    def _minibatches(self, columns: Columns) -> Iterator[Columns]:
        """The rollout in parts, in another order at each pass; whole where it is one minibatch."""
        size = self.batch_size or columns["log_probs"].shape[-1]
        if self.recurrence is not None:
            yield from self.recurrence.sequences(columns, size, self.order.generator)
        else:
            yield from self.order.minibatches(columns, size)

    def _moved(self, log_ratio: Tensor, clip: float | None) -> Tensor:
        """``approx_kl``: how far the policy is from that of the rollout."""
        ratio = log_ratio.exp()
        kl = (ratio - 1 - log_ratio).mean(-1)
        outside = torch.zeros_like(kl) if clip is None else ((ratio - 1).abs() > clip).float().mean(-1)
        self.log(approx_kl=kl, clip_fraction=outside)
        return kl

    def learner_state(self) -> dict[str, Any]:
        remembered = {} if self.recurrence is None else {"remembered": self.recurrence.states}
        return {"shuffle": self.order.generator.get_state(), "observations": self.rollout_observations, **remembered}

    def load_learner_state(self, state: Mapping[str, Any]) -> None:
        self.order.generator.set_state(state["shuffle"])
        self.rollout_observations = state["observations"]
        if self.recurrence is not None:
            self.recurrence.states = state["remembered"].to(self._setup.device)
