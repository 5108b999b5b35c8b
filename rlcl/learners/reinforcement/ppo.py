"""Proximal policy optimization."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.config.aliases import Alias
from rlcl.errors import UnsupportedError
from rlcl.learners.fast.backprop import passes_of, set_gradient
from rlcl.learners.fast.fused_adam import pack_parameters
from rlcl.learners.fast.numpy_forward import NumpyForward
from rlcl.learners.optimizers import Adam, build_optimizer
from rlcl.learners.reinforcement.action_bounds import action_bounds_warning
from rlcl.learners.reinforcement.action_distributions import (
    ActionDistribution,
    distribution_over,
    free_parameters,
    mask_array,
    mask_tensor,
)
from rlcl.learners.reinforcement.actor_critic import ActorCritic, ActorCriticPasses, scale_orthogonal
from rlcl.learners.reinforcement.collector import Collector
from rlcl.learners.reinforcement.learner import ReinforcementLearner
from rlcl.learners.reinforcement.losses import ppo_loss, ppo_loss_gradient
from rlcl.learners.reinforcement.recurrent import (
    SEQUENCE_LENGTH,
    Recurrent,
    RecurrentActorCritic,
    RecurrentNetwork,
    sequences_of,
)
from rlcl.learners.reinforcement.returns import explained_variance, generalized_advantages
from rlcl.learners.reinforcement.rollout import Rollout, collect_rollout
from rlcl.learners.reinforcement.rollout_minibatches import Columns, RolloutShuffler
from rlcl.learners.reinforcement.setting_aliases import PPO_ALIASES
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.networks.mlp import Mlp
from rlcl.networks.task_ids import call_network, takes_task_ids
from rlcl.types import ActionEvaluation, Batch, Experience, Graph, Network, OptimizerFactory, Transitions

__all__ = ["Ppo"]

Array = np.ndarray[Any, Any]


class RolloutBatch(NamedTuple):
    """A rollout with the clip range of its updates.

    Args:
        columns: arrays of its transitions, by name.
        clip: clip range of the ratio; None for no clipping.
    """

    columns: Columns
    clip: float | None


@define(kw_only=True, eq=False)
class Ppo(ReinforcementLearner):
    """Proximal policy optimization with the clipped surrogate objective.

    Each rollout of ``n_steps`` steps per environment is used for ``epochs`` epochs of minibatch updates, and then
    discarded. With ``epochs: 1``, ``batch_size: null``, ``clip: null``, ``normalize_advantages: false``,
    ``gae_lambda: 1`` and ``n_steps: 5`` it is A2C (Huang et al. 2022, A2C is a special case of PPO).

    Logged values of the last epoch of each rollout: ``loss`` (:func:`rlcl.learners.reinforcement.losses.ppo_loss`) and
    its terms ``policy_loss`` (clipped surrogate, negated), ``value_loss`` (mean squared error between predicted values
    and returns), ``entropy`` (in nats); ``approx_kl`` (mean of ``ratio - 1 - log ratio``, Schulman 2020),
    ``clip_fraction`` (share of ratios outside of the clip range). Logged once per rollout: ``explained_variance``, the
    fraction of the variance of the returns that the value function explains.

    Args:
        network: network architecture of the actor and of the critic, which are two networks unless ``shared`` is set.
        shared: whether actor and critic share one network with two heads.
        action_masks: whether actions that an environment forbids are masked
            (:mod:`rlcl.data.environments.action_masks`).
        optimizer: optimizer of both networks.
        n_steps: steps of each environment in a rollout.
        batch_size: transitions in a minibatch; null for the whole rollout.
        epochs: epochs over each rollout.
        gae_lambda: lambda of generalized advantage estimation.
        clip: clip range of the ratio of new to old probability; null for no clipping.
        clip_schedule: whether ``clip`` decreases linearly to 0 over the budget of the experience or of the stream (see
            ``schedule_over``).
        normalize_advantages: whether advantages are normalized to mean 0 and standard deviation 1 in each minibatch.
        entropy_weight: weight of the entropy, which is added to the objective.
        value_weight: weight of ``value_loss``.
        clip_norm: maximum norm of the gradient; null for no clipping.
        target_kl: threshold of early stopping: if ``approx_kl`` of a minibatch exceeds 1.5 times this value, the
            remaining updates on the rollout are skipped; null disables early stopping.
        log_std: initial log standard deviation of continuous actions.
        recurrent: settings of the recurrent layer of actor and critic; null for networks without a recurrent layer.
            With a recurrent layer, a minibatch contains the complete sequences of one or more environments. Their
            number is the largest for which the minibatch has at most ``batch_size`` transitions, but at least 1.

    Source: Schulman et al. 2017, Proximal policy optimization algorithms, eq. 7 and 9 and algorithm 1; details:
    Huang et al. 2022, The 37 implementation details of proximal policy optimization.
    """

    aliases: ClassVar[Mapping[str, Alias]] = PPO_ALIASES

    network: Network = option(factory=lambda: Mlp(hidden=(64, 64), activation="tanh", initialization="orthogonal"))
    shared: bool = option(False)
    action_masks: bool = option(True)
    optimizer: OptimizerFactory = option(factory=lambda: Adam(lr=3e-4, epsilon=1e-5))
    n_steps: int = option(2048, ge=1)
    batch_size: int | None = option(64, ge=1)
    epochs: int = option(10, ge=1, le=10_000)  # a round cannot be interrupted
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
    recurrence: RecurrentActorCritic | None = field(init=False, default=None)
    distribution: ActionDistribution = field(init=False, default=None)
    actor_forward: NumpyForward = field(init=False, default=None)
    _num_envs: int = field(init=False, default=1)
    _clip: float | None = field(init=False, default=None)  # clip range of the current round
    free: Tensor = field(init=False, default=None)  # (F,) parameters of the distribution
    shuffler: RolloutShuffler = field(init=False, default=None)
    rollout_observations: Array = field(init=False, default=None)  # (T, N, *encoded) of the last rollout

    @property
    def kind(self) -> str:
        # Each step of a sequence is an independent choice, given the observations.
        kind = self.distribution.kind
        return "multi_categorical" if self.recurrent and kind == "categorical" else kind

    @property
    def choices(self) -> Sequence[int]:
        if self.kind != "multi_categorical":
            return ()
        return self.distribution.choices * (self.sequence_length or 1)

    @property
    def sequence_length(self) -> int | None:
        return min(SEQUENCE_LENGTH, self.n_steps) if self.recurrent else None

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"policy": self.policy}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return {"policy": self.torch_optimizer}

    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        self.distribution = distribution_over(actions)
        self._num_envs = num_envs
        if self.recurrent and len(shape) == 3:
            raise UnsupportedError(
                f"learner {self.name}: recurrent reads observations in one row, got images of shape {shape}; extract "
                "features by the encoder backbone, or use the encoder frame_stack without recurrent"
            )
        networks = self._build_networks(shape)
        free = free_parameters(self.distribution, self.log_std)
        self.policy = ActorCritic(networks[0], None if self.shared else networks[1], free).to(self._setup.device)
        parameters = list(self.policy.parameters())
        pack_parameters(parameters)
        self.torch_optimizer = build_optimizer(self.optimizer, parameters)
        if self.recurrent:
            self.recurrence = RecurrentActorCritic(self.policy, num_envs, self.n_steps, self._setup.device)
        self.shuffler = RolloutShuffler(self._setup.seeds.child("shuffle").torch())
        self.rollout_observations = np.zeros((self.n_steps, num_envs, *shape), np.float32)

    def _build_networks(self, shape: tuple[int, ...]) -> list[nn.Module]:
        """Build the actor and the critic, or the shared network."""
        actor_gains = [0.01] * self.distribution.outputs
        gains = [[*actor_gains, 1.0]] if self.shared else [actor_gains, [1.0]]
        inputs = (self.recurrent.size,) if self.recurrent else shape
        networks = [self.build_network(self.network, inputs, len(last)) for last in gains]
        for network, last in zip(networks, gains, strict=True):
            scale_orthogonal(network, last)
        if self.recurrent is None:
            return networks
        if any(map(takes_task_ids, networks)):
            raise UnsupportedError(
                f"learner {self.name}: recurrent does not support networks that select a head by the task id; use "
                "another network, or the encoder task_one_hot"
            )
        return [RecurrentNetwork(math.prod(shape), self.recurrent.size, network) for network in networks]

    @property
    def critic_refusal(self) -> str | None:
        return "its critic is a part of the actor's network; set learner.shared: false" if self.shared else None

    def reset_critic(self) -> None:
        critic = self.policy.critic
        assert critic is not None
        critic.load_state_dict(self._build_networks(self.rollout_observations.shape[2:])[1].state_dict())
        for parameter in critic.parameters():
            self.torch_optimizer.state.pop(parameter, None)

    def ready(self) -> None:
        self.actor_forward = self.acting_forward(self.policy.actor)
        self.passes = ActorCriticPasses([passes_of(network) for network in self.policy.side_by_side])
        self.free = torch.empty(0) if self.policy.free is None else self.policy.free

    @property
    def exploration_parameters(self) -> Sequence[tuple[nn.Parameter, Optimizer]]:
        """The log standard deviations of continuous actions."""
        return () if self.policy.free is None else ((self.policy.free, self.torch_optimizer),)

    @property
    def steps_per_round(self) -> int:
        return self.n_steps * self._num_envs

    def planned_updates(self, experience: Experience) -> int | None:
        if self.target_kl is not None or self.recurrent is not None:
            return None
        minibatches = math.ceil(self.steps_per_round / (self.batch_size or self.steps_per_round))
        return self.steps(experience) // self.steps_per_round * self.epochs * minibatches

    @property
    def takes_action_masks(self) -> bool:
        return self.action_masks and self.distribution.free == 0

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        outputs = call_network(self.policy, x, task_ids) if self.recurrence is None else self.recurrence.outputs(x)
        return self.distribution.as_outputs(outputs, self.free)

    def action_outputs(self, outputs: Array, masks: Array | None) -> Array:
        """Return the masked outputs (N, K) of the action distribution, from the outputs of the actor's network."""
        return mask_array(outputs[:, :-1] if self.shared else outputs, masks)

    def cautions(self) -> Sequence[str]:
        """See :class:`rlcl.types.Cautious`."""
        space = self._setup.stream[0].environment.spaces()[1]
        warning = action_bounds_warning(space, self.log_std) if isinstance(space, gym.spaces.Box) else None
        return () if warning is None else (f"learner {self.name}: {warning}",)

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        distribution, count = self.distribution, self.distribution.outputs  # a shared network also outputs the value
        return self.policy_graph(
            self.policy.actor,
            lambda y: distribution.greedy(y[:, :count]),
            lambda y: distribution.scores(y[:, :count]),
        )

    @property
    def samples_actions(self) -> bool:
        return True

    def act(self, observations: Array, masks: Array | None = None) -> Array:
        return self._select(self.actor_forward(observations), masks, None)

    def sampled_actions(self, observations: Array, masks: Array | None, rng: np.random.Generator) -> Array:
        return self._select(self.actor_forward(observations), masks, rng)

    def act_on(
        self, observations: Array, masks: Array | None, state: Any, rng: np.random.Generator | None = None
    ) -> tuple[Array, Any]:
        if self.recurrence is None:
            return super().act_on(observations, masks, state, rng)
        outputs, state = self.recurrence.act(observations, state)
        return self._select(outputs, masks, rng), state

    def _select(self, outputs: Array, masks: Array | None, rng: np.random.Generator | None) -> Array:
        """Return greedy actions for outputs (N, K) of the actor's network, or sampled ones with ``rng``."""
        outputs, distribution = self.action_outputs(outputs, masks), self.distribution
        if rng is None:
            return distribution.for_environment(distribution.mode(outputs))
        return distribution.for_environment(distribution.sample(outputs, self.free.detach().cpu().numpy(), rng))

    def recent_observations(self) -> Array:
        observations = self.rollout_observations
        if self.recurrence is not None:
            return sequences_of(observations, self.recurrence.starts, self.sequence_length or 1)
        return observations.reshape(-1, *observations.shape[2:])

    def collect(self, collector: Collector, progress: float) -> Rollout:
        free, distribution = self.free.detach().cpu().numpy(), self.distribution
        forward = self.actor_forward if self.recurrence is None else self.recurrence.actor_forward(collector)
        return collect_rollout(
            collector,
            self.rollout_observations,
            lambda x, masks: distribution.sample(self.action_outputs(forward(x), masks), free, self.rng),
            distribution.for_environment,
        )

    def batches(self, collected: Rollout, collector: Collector, progress: float) -> Iterator[RolloutBatch]:
        self.rollout_observations = collected.observations
        clip = None if self.clip is None else self.clip * (1 - progress if self.clip_schedule else 1)
        self._clip = clip
        columns = self._transition_columns(collected)
        self.round.begin(lambda: self._collected_transitions(collected, columns))
        yield RolloutBatch(columns, clip)

    def update_on(self, batch: RolloutBatch) -> None:
        for epoch in range(self.epochs):
            if not self._run_epoch(batch.columns, batch.clip, last=epoch == self.epochs - 1):
                break

    def _transition_columns(self, rollout: Rollout) -> Columns:
        """Compute the columns (T * N, ...) for updates: log-probabilities, advantages, returns and inputs."""
        rows = rollout.rewards.size
        states, actions = self._tensor(rollout.states), self._tensor(rollout.actions)
        masks = None if rollout.masks is None else self._tensor(rollout.masks)
        with torch.no_grad() if self.passes.mode_independent else evaluation_mode(self.policy):
            recurrent_columns: Columns = {}
            if self.recurrence is None:
                outputs, state_values = self.passes.forward(states, self.task_ids_of(len(states)))
            else:
                outputs, state_values, recurrent_columns = self.recurrence.evaluate_rollout(states, rollout)
            log_probs = self.distribution.log_prob(mask_tensor(outputs[:rows], masks), self.free, actions)
        values, next_values = rollout.values_and_next(state_values.cpu().numpy())
        advantages = generalized_advantages(
            rollout.rewards, values, next_values, rollout.terminated, rollout.ended, self.gamma, self.gae_lambda
        )
        returns = advantages + values
        self.log(explained_variance=explained_variance(values, returns))
        columns = {
            "observations": states[:rows],
            "actions": actions,
            "log_probs": log_probs,
            "advantages": self._tensor(advantages.reshape(-1)),
            "returns": self._tensor(returns.reshape(-1)),
            **recurrent_columns,
        }
        task_ids = self.task_ids_of(rows) if self.recurrence is None else None
        optional = {"masks": masks, "task_ids": task_ids}
        return columns | {name: column for name, column in optional.items() if column is not None}

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._setup.device)

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset(() if self.recurrent else ("transitions", "log_probs"))

    @property
    def lacking(self) -> Mapping[str, str]:
        reason = "a recurrent policy needs its state before each transition; set recurrent: null"
        return dict.fromkeys(("transitions", "log_probs"), reason) if self.recurrent else {}

    def _collected_transitions(self, rollout: Rollout, columns: Columns) -> Transitions:
        def sequences(name: str) -> Tensor | None:
            column = columns.get(name)
            return None if column is None else column.view(*rollout.rewards.shape, *column.shape[1:])

        return Transitions(
            columns["observations"].view(rollout.observations.shape),
            self._tensor(rollout.actions).view(*rollout.rewards.shape, *rollout.actions.shape[1:]),
            self._tensor(rollout.rewards),
            self._tensor(rollout.next_observations),
            self._tensor(rollout.terminated),
            self._tensor(rollout.ended),
            sequences("log_probs"),
            sequences("masks"),
            task_ids=sequences("task_ids"),
        )

    def evaluate_actions(self, transitions: Transitions) -> ActionEvaluation:
        shape, masks, ids = transitions.rewards.shape, transitions.masks, transitions.task_ids
        outputs, values = self.policy.outputs_and_values(
            transitions.observations.flatten(0, 1), None if ids is None else ids.flatten()
        )
        masked = mask_tensor(outputs, None if masks is None else masks.flatten(0, 1))
        return ActionEvaluation(
            self.distribution.as_outputs(outputs, self.free).view(*shape, -1),
            self.distribution.log_prob(masked, self.free, transitions.actions.flatten(0, 1)).view(shape),
            self.distribution.entropy(masked, self.free).expand(shape.numel()).view(shape),
            values.view(shape),
        )

    def state_values(self, observations: Tensor, task_ids: Tensor | None) -> Tensor:
        return self.policy.outputs_and_values(observations, task_ids)[1]

    def transition_loss(self, module: str, transitions: Transitions, rng: np.random.Generator) -> Tensor:
        current, ids = self.evaluate_actions(transitions), transitions.task_ids
        with torch.no_grad():
            next_values = self.state_values(
                transitions.next_observations.flatten(0, 1), None if ids is None else ids.flatten()
            )
        columns = (transitions.rewards, current.values.detach(), next_values.view(transitions.rewards.shape))
        rewards, values, following, terminated, ended = (
            column.cpu().numpy() for column in (*columns, transitions.terminated, transitions.ended)
        )
        advantages = generalized_advantages(rewards, values, following, terminated, ended, self.gamma, self.gae_lambda)
        assert transitions.log_probs is not None
        return ppo_loss(
            (current.log_probs - transitions.log_probs).flatten(),
            self._normalized(self._tensor(advantages).flatten()),
            self._clip,
            current.values.flatten(),
            self._tensor(advantages + values).flatten(),
            current.entropies.mean(),
            *self._loss_weights,
        ).loss

    def _normalized(self, advantages: Tensor) -> Tensor:
        """Return advantages (..., B), normalized if ``normalize_advantages`` is set."""
        if not self.normalize_advantages or advantages.shape[-1] == 1:
            return advantages
        mean, deviation = advantages.mean(-1, keepdim=True), advantages.std(-1, keepdim=True)
        return (advantages - mean) / (deviation + 1e-8)

    def _run_epoch(self, columns: Columns, clip: float | None, last: bool) -> bool:
        """Update on the minibatches of one epoch; returns False if ``target_kl`` ends the epochs."""
        for minibatch in self._minibatches(columns):
            self.batch = Batch(minibatch["observations"], task_ids=minibatch.get("task_ids"))
            outputs, values = self._forward(minibatch)
            outputs = mask_tensor(outputs, minibatch.get("masks"))
            actions, free = minibatch["actions"], self.free.detach()
            log_ratio = self.distribution.log_prob(outputs, free, actions) - minibatch["log_probs"]
            advantages = self._normalized(minibatch["advantages"])
            terms, weights = (log_ratio, advantages, clip, values, minibatch["returns"]), self._loss_weights
            if last or self.target_kl is not None:
                entropy = self.distribution.entropy(outputs, free).mean(-1)
                self.log(**ppo_loss(*terms, entropy, *weights)._asdict())
                kl = self._approximate_kl(log_ratio, clip)
                if self.target_kl is not None and float(kl) > 1.5 * self.target_kl:
                    return False
            by_log_prob, by_values, by_entropy = ppo_loss_gradient(*terms, *weights)
            by_outputs, by_free = self.distribution.gradient(outputs, free, actions, by_log_prob, by_entropy)
            (self.recurrence or self.passes).backward(by_outputs, by_values)
            if self.distribution.free:
                set_gradient(self.free, by_free)
            self.torch_optimizer.step()
        return True

    @property
    def _loss_weights(self) -> tuple[float, float]:
        return self.value_weight, self.entropy_weight

    def _forward(self, minibatch: Columns) -> tuple[Tensor, Tensor]:
        if self.recurrence is not None:
            return self.recurrence.forward(minibatch)
        return self.passes.forward(minibatch["observations"], minibatch.get("task_ids"))

    def _minibatches(self, columns: Columns) -> Iterator[Columns]:
        """Yield shuffled minibatches; the unshuffled rollout if it fits in one minibatch."""
        size = self.batch_size or columns["log_probs"].shape[-1]
        if self.recurrence is not None:
            yield from self.recurrence.sequences(columns, size, self.shuffler.generator)
        else:
            yield from self.shuffler.minibatches(columns, size)

    def _approximate_kl(self, log_ratio: Tensor, clip: float | None) -> Tensor:
        """Compute and log ``approx_kl`` between old and current policy; log ``clip_fraction`` too."""
        ratio = log_ratio.exp()
        kl = (ratio - 1 - log_ratio).mean(-1)
        outside = torch.zeros_like(kl) if clip is None else ((ratio - 1).abs() > clip).float().mean(-1)
        self.log(approx_kl=kl, clip_fraction=outside)
        return kl

    def learner_state(self) -> dict[str, Any]:
        recurrent = {} if self.recurrence is None else self.recurrence.state_dict()
        return {"shuffle": self.shuffler.generator.get_state(), "observations": self.rollout_observations, **recurrent}

    def load_learner_state(self, state: Mapping[str, Any]) -> None:
        self.shuffler.generator.set_state(state["shuffle"])
        self.rollout_observations = state["observations"]
        if self.recurrence is not None:
            self.recurrence.load_state_dict(state)
