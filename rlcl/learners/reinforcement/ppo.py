"""Proximal policy optimization."""

from __future__ import annotations

import copy
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
from rlcl.learners.fast.batched_environments import Generators
from rlcl.learners.fast.batched_weights import Block, StepTogether
from rlcl.learners.fast.forward import Forward, forward_of
from rlcl.learners.fast.fused_adam import lay_out
from rlcl.learners.optimizers import Adam, built_optimizer
from rlcl.learners.reinforcement.actions import ActionDistribution, allowed, distribution_over, free_parameters, masked
from rlcl.learners.reinforcement.actor_critic import ActorCritic, ActorCriticPasses, scale_orthogonal
from rlcl.learners.reinforcement.collecting import Collector
from rlcl.learners.reinforcement.learner import ReinforcementLearner
from rlcl.learners.reinforcement.losses import (
    clipped_surrogate,
    clipped_surrogate_gradient,
    value_loss,
    value_loss_gradient,
)
from rlcl.learners.reinforcement.recurrent import Recurrence, Recurrent, Remembering
from rlcl.learners.reinforcement.returns import explained_variance, generalized_advantages
from rlcl.learners.reinforcement.rollout import Rollout, rolled_out
from rlcl.methods.parts.modes import evaluating
from rlcl.networks.mlp import Mlp
from rlcl.networks.tried import tried
from rlcl.types import Batch, Network, OptimizerFactory

__all__ = ["Ppo"]

Array = np.ndarray[Any, Any]
Columns = Mapping[str, Tensor]  # of a rollout's transitions, (B, ...) each


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

    network: Network = option(
        factory=lambda: Mlp(hidden=(64, 64), activation="tanh", initialization="orthogonal"),
        help="of the actor, and of the critic",
    )
    shared: bool = option(False, help="one network serves both, with a head for each")
    action_masks: bool = option(True, help="actions that an environment forbids are left out")
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
    recurrent: Recurrent | None = option(None, help="what is remembered of an episode; null for nothing")

    policy: ActorCritic = field(init=False, default=None)
    _optimizer: Any = field(init=False, default=None)
    _passes: ActorCriticPasses = field(init=False, default=None)
    _recurrence: Recurrence | None = field(init=False, default=None)
    _distribution: ActionDistribution = field(init=False, default=None)
    _acting: Forward = field(init=False, default=None)
    _num_envs: int = field(init=False, default=1)
    _free: Tensor = field(init=False, default=None)  # (F,) parameters of the distribution
    _shuffles: tuple[torch.Generator, ...] = field(init=False, default=())  # of each rollout learned from
    _observations: Array = field(init=False, default=None)  # (T, N, *encoded) of the last rollout

    @property
    def kind(self) -> str:
        # What a policy that remembers gives is no function of one observation.
        return "other" if self.recurrent else self._distribution.kind

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"policy": self.policy}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return {"policy": self._optimizer}

    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        self._distribution = distribution_over(actions)
        self._num_envs = num_envs
        widths = [self._distribution.outputs + 1] if self.shared else [self._distribution.outputs, 1]
        if self.recurrent and len(shape) == 3:
            raise UnsupportedError(
                f"learner {self.name}: recurrent reads observations in one row, and these are images of shape {shape}; "
                "make features of them by the encoder backbone, or stack a few by frame_stack instead"
            )
        read = (self.recurrent.size,) if self.recurrent else shape
        networks = [tried(self.network.build(read, width, 1), self.network, read, width) for width in widths]
        scale_orthogonal(networks[0], [0.01] * self._distribution.outputs + [1.0] * self.shared)
        if not self.shared:
            scale_orthogonal(networks[1], [1.0])
        if self.recurrent:
            networks = [Remembering(math.prod(shape), self.recurrent.size, network) for network in networks]
        free = free_parameters(self._distribution, self.log_std)
        self.policy = ActorCritic(networks[0], None if self.shared else networks[1], free).to(self._setup.device)
        parameters = list(self.policy.parameters())
        lay_out(parameters)
        self._optimizer = built_optimizer(self.optimizer, parameters)
        if self.recurrent:
            self._recurrence = Recurrence(self.policy, num_envs, self._setup.device)
        self._shuffles = (self._setup.seeds.child("shuffle").torch(),)
        self._observations = np.zeros((self.n_steps, num_envs, *shape), np.float32)

    def ready(self) -> None:
        self._acting = forward_of(self.policy.actor)
        self._passes = ActorCriticPasses([passes_of(network) for network in self.policy.side_by_side])
        self._free = torch.empty(0) if self.policy.free is None else self.policy.free

    @property
    def explored(self) -> Sequence[tuple[nn.Parameter, Optimizer]]:
        """The log standard deviations of continuous actions."""
        return () if self.policy.free is None else ((self.policy.free, self._optimizer),)

    @property
    def steps_at_once(self) -> int:
        return self.n_steps * self._num_envs

    @property
    def takes_action_masks(self) -> bool:
        return self.action_masks and self._distribution.free == 0

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        return self._distribution.as_outputs(self.policy(x), self._free)

    def _outputs(self, found: Array, masks: Array | None) -> Array:
        """(N, K) for actions, of what the actor's network gave."""
        return masked(found[:, :-1] if self.shared else found, masks)

    def act(self, observations: Array, masks: Array | None = None) -> Array:
        return self._greedy(self._acting(observations), masks)

    def act_on(self, observations: Array, masks: Array | None, state: Any) -> tuple[Array, Any]:
        if self._recurrence is None:
            return self.act(observations, masks), None
        found, state = self._recurrence.decide(observations, state)
        return self._greedy(found, masks), state

    def _greedy(self, found: Array, masks: Array | None) -> Array:
        return self._distribution.for_environment(self._distribution.mode(self._outputs(found, masks)))

    def recent(self) -> Array:
        return self._observations.reshape(-1, *self._observations.shape[2:])

    @property
    def networks(self) -> Sequence[nn.Module]:
        """Those that :meth:`beside` takes."""
        return self.policy.side_by_side

    def beside(self, others: Sequence[Ppo]) -> Ppo:
        """A learner of lessons side by side, from all of these at once; what it learns is theirs."""
        all_of_them, joint = (self, *others), copy.copy(self)
        block = Block([learner.policy.parameters() for learner in all_of_them])
        for learner in all_of_them:
            learner.ready()  # its weights lie elsewhere now
        joint._passes = ActorCriticPasses([block.passes(network) for network in self.networks])
        joint._free = self._free if self.policy.free is None else block.of(self.policy.free)
        joint._shuffles = tuple(shuffle for learner in all_of_them for shuffle in learner._shuffles)
        joint._optimizer = StepTogether(
            self.optimizer, block, [learner._optimizer for learner in all_of_them], self.clip_norm
        )
        joint._acting = block.forward(self.policy.actor)
        joint._observations = np.concatenate([learner._observations for learner in all_of_them], 1)
        joint.rng = Generators([learner.rng for learner in all_of_them])  # type: ignore[assignment]
        joint._logged = {}
        return joint

    def collect(self, collector: Collector, progress: float) -> Rollout:
        free, distribution = self._free.detach().cpu().numpy(), self._distribution
        if free.ndim > 1:  # of several policies side by side: one row an environment
            free = free.repeat(self._num_envs, 0)
        acting = self._acting if self._recurrence is None else self._recurrence.acting(collector)
        return rolled_out(
            collector,
            self._observations,
            lambda x, masks: distribution.draw(self._outputs(acting(x), masks), free, self.rng),
            distribution.for_environment,
        )

    @property
    def collects_at_once(self) -> bool:
        """Whether what :meth:`beside` gives can act for all: in NumPy."""
        return self._setup.device == "cpu"

    def parted(self, collected: Rollout, count: int) -> list[Rollout]:
        """What as many learners side by side have collected, for each."""
        return collected.parted(count)

    def lessons(self, collected: Rollout, collector: Collector, progress: float) -> Iterator[Lesson]:
        self._observations = collected.observations
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
        with torch.no_grad() if self._passes.modeless else evaluating(self.policy):
            remembered: Columns = {}
            if self._recurrence is None:
                outputs, known = self._passes.forward(states)
            else:
                outputs, known, remembered = self._recurrence.judge(states, rollout)
            log_probs = self._distribution.log_prob(allowed(outputs[:rows], masks), self._free, actions)
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
            outputs, actions, free = allowed(outputs, part.get("masks")), part["actions"], self._free.detach()
            log_ratio = self._distribution.log_prob(outputs, free, actions) - part["log_probs"]
            advantages = part["advantages"]
            if self.normalize_advantages and advantages.shape[-1] > 1:
                mean, deviation = advantages.mean(-1, keepdim=True), advantages.std(-1, keepdim=True)
                advantages = (advantages - mean) / (deviation + 1e-8)
            if last or self.target_kl is not None:
                entropy = self._distribution.entropy(outputs, free).mean(-1)
                policy_loss = clipped_surrogate(log_ratio, advantages, clip)
                self.log(policy_loss=policy_loss, value_loss=value_loss(values, part["returns"]), entropy=entropy)
                kl = self._moved(log_ratio, clip)
                if self.target_kl is not None and float(kl) > 1.5 * self.target_kl:
                    return False
            by_log_prob = clipped_surrogate_gradient(log_ratio, advantages, clip)
            by_outputs, by_free = self._distribution.gradient(outputs, free, actions, by_log_prob, -self.entropy_weight)
            by_values = value_loss_gradient(values, part["returns"]).mul_(self.value_weight)
            (self._recurrence or self._passes).backward(by_outputs, by_values)
            if self._distribution.free:
                give_gradient(self._free, by_free)
            self._optimizer.step()
        return True

    def _forward(self, part: Columns) -> tuple[Tensor, Tensor]:
        return (
            self._passes.forward(part["observations"]) if self._recurrence is None else self._recurrence.forward(part)
        )

    def _minibatches(self, columns: Columns) -> Iterator[Columns]:
        """The rollout in parts, in another order at each pass; all at once where it is one minibatch."""
        *beside, rows = columns["log_probs"].shape
        size = self.batch_size or rows
        if self._recurrence is not None:
            yield from self._recurrence.sequences(columns, size, self._shuffles[0])
            return
        if size >= rows:
            yield columns
            return
        orders = [i * rows + torch.randperm(rows, generator=shuffle) for i, shuffle in enumerate(self._shuffles)]
        order, along = torch.cat(orders).to(self._setup.device), len(beside)
        rolled = [column.flatten(0, along).index_select(0, order).view_as(column) for column in columns.values()]
        parts = [torch.split(column, size, along) for column in rolled]
        yield from (dict(zip(columns, part, strict=True)) for part in zip(*parts, strict=True))

    def _moved(self, log_ratio: Tensor, clip: float | None) -> Tensor:
        """``approx_kl``: how far the policy is from that of the rollout."""
        ratio = log_ratio.exp()
        kl = (ratio - 1 - log_ratio).mean(-1)
        outside = torch.zeros_like(kl) if clip is None else ((ratio - 1).abs() > clip).float().mean(-1)
        self.log(approx_kl=kl, clip_fraction=outside)
        return kl

    def learner_state(self) -> dict[str, Any]:
        remembered = {} if self._recurrence is None else {"remembered": self._recurrence.states}
        return {"shuffle": self._shuffles[0].get_state(), "observations": self._observations, **remembered}

    def load_learner_state(self, state: Mapping[str, Any]) -> None:
        self._shuffles[0].set_state(state["shuffle"])
        self._observations = state["observations"]
        if self._recurrence is not None:
            self._recurrence.states = state["remembered"].to(self._setup.device)
