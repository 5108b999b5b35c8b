"""Base class of off-policy learners, with a replay buffer and target networks."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn

from rlcl.config import option
from rlcl.data.sources import Environment
from rlcl.errors import UnsupportedError
from rlcl.learners.fast.numpy_forward import NumpyForward
from rlcl.learners.reinforcement.collector import Collector
from rlcl.learners.reinforcement.earlier_policies import EarlierPolicies
from rlcl.learners.reinforcement.learner import ReinforcementLearner
from rlcl.learners.reinforcement.priorities import Priorities, Prioritised
from rlcl.learners.reinforcement.replay import ReplayBuffer
from rlcl.learners.reinforcement.transition_batch import TransitionBatch
from rlcl.learners.reinforcement.twin_critics import critic_inputs
from rlcl.types import Experience, Transitions

__all__ = ["OffPolicyLearner"]

Array = np.ndarray[Any, Any]

BATCH_BYTES = 2**22  # maximum size of the observations of one batch, which holds the minibatches of several updates


@define(kw_only=True, eq=False)
class OffPolicyLearner(ReinforcementLearner):
    """Base class of learners that update on minibatches sampled from a replay buffer.

    The buffer stores raw observations, and rewards that are normalized if the encoder normalizes them. Observations are
    encoded each time they are sampled, with the current statistics of the encoder. Rewards keep the normalization from
    the time of collection. The buffer is kept from experience to experience.

    Args:
        capacity: number of rows of the replay buffer, for all environments together. Each step takes one row, and the
            final observation of each episode takes one more.
        batch_size: transitions in a minibatch.
        learning_starts: env steps at the start of the stream, before the first update.
        random_steps: env steps of uniformly random actions at the start of the stream; null for ``learning_starts``.
            With ``boundary.exploration: uniform``, both are counted from the start of each experience. With
            ``best_return`` too, where earlier policies act instead.
        train_every: env steps, summed over all environments, between two rounds of updates; rounded up to a multiple of
            the number of environments.
        gradient_steps: updates in each round; -1 for one per env step.
        n_step: steps of n-step returns.
        prioritised: settings of prioritized replay; null for uniform sampling.

    Source: Lin 1992; Mnih et al. 2015, algorithm 1; n steps: Hessel et al. 2018, Rainbow, section 3.
    """

    capacity: int = option(1_000_000, ge=1)
    batch_size: int = option(256, ge=1)
    learning_starts: int = option(100, ge=0)
    random_steps: int | None = option(None, ge=0)
    train_every: int = option(1, ge=1)
    gradient_steps: int = option(1, ge=-1, le=10_000)  # a round cannot be interrupted
    n_step: int = option(1, ge=1)
    prioritised: Prioritised | None = option(None)

    buffer: ReplayBuffer = field(init=False, default=None)
    _priorities: Priorities | None = field(init=False, default=None)
    _errors: Tensor | None = field(init=False, default=None)  # (B,) errors of the last minibatch
    _num_envs: int = field(init=False, default=1)
    _updates_per_batch: int = field(init=False, default=1)  # number of updates whose minibatches are sampled together
    _experience_steps: int = field(init=False, default=0)  # env steps of the current experience
    _exploration_start: int = field(init=False, default=0)  # env step from which random_steps are counted
    _earlier: EarlierPolicies = field(init=False, default=None)
    acting: NumpyForward = field(init=False, default=None)  # from observations to outputs of the network that acts
    _action_masks: Array | None = field(init=False, default=None)  # (N, K) bool, actions allowed now; None for all

    # Abstract members, besides those of ReinforcementLearner.

    @abstractmethod
    def random_actions(self, count: int) -> Array:
        """Sample uniformly random actions (count, *action), in the form that the buffer stores."""

    @abstractmethod
    def explore(self, observations: Array, progress: float) -> Array:
        """Return exploratory actions (N, *action), in the form that the buffer stores.

        Args:
            observations: (N, *encoded).
            progress: used fraction of the budget that schedules cover (see ``schedule_over``), in [0, 1).
        """

    @abstractmethod
    def for_environment(self, actions: Array) -> Array:
        """Convert stored actions to the environment's action space."""

    @abstractmethod
    def update_on(self, batch: TransitionBatch) -> Tensor:
        """Update once on each minibatch of ``batch.split(self.batch_size)``.

        Returns:
            Errors (B,) of the last minibatch, without gradient.
        """

    @property
    @abstractmethod
    def target_networks(self) -> Mapping[str, nn.Module]:
        """Target networks by the names of the :attr:`modules` that they follow; saved with the state."""

    @abstractmethod
    def own_state(self) -> dict[str, Any]:
        """Return the state of the subclass, without modules, optimizers, target networks and replay buffer."""

    @abstractmethod
    def load_own_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`own_state` returned."""

    # Optional hooks.

    def after_initial_weights(self) -> None:
        for name, target in self.target_networks.items():
            target.load_state_dict(self.modules[name].state_dict())

    def begin_round(self) -> None:
        """Prepare a round of updates."""

    # Implementation of ReinforcementLearner.

    @property
    def followers(self) -> Sequence[nn.Module]:
        return tuple(target for name, target in self.target_networks.items() if name == self.host.primary)

    def planned_updates(self, experience: Experience) -> int:
        experienced = self.position.step - self._exploration_start
        random_rounds = max(self.learning_starts - experienced, 0) // self.steps_per_round
        rounds = max(self.steps(experience) // self.steps_per_round - random_rounds, 0)
        return rounds * (self.steps_per_round if self.gradient_steps < 0 else self.gradient_steps)

    def make_replay_buffer(self, shape: tuple[int, ...], actions: tuple[int, ...], dtype: Any, num_envs: int) -> None:
        """Create the replay buffer; :meth:`build` must call this.

        Args:
            shape: shape of one encoded observation.
            actions: shape of one action, as stored.
            dtype: data type of actions.
            num_envs: number of parallel environments.

        Raises:
            UnsupportedError: ``train_every`` exceeds ``capacity``.
        """
        if self.train_every > self.capacity:
            raise UnsupportedError(
                f"learner.train_every: got {self.train_every:,}, more than the {self.capacity:,} rows of the replay "
                f"buffer of learner {self.name} (capacity): transitions would be overwritten before they are sampled; "
                "set train_every lower, or capacity higher"
            )
        source = self._setup.stream[0].train
        assert isinstance(source, Environment)
        space = source.spaces()[0]
        assert space.shape is not None
        self.buffer = ReplayBuffer(self.capacity, num_envs, space.shape, space.dtype, actions, dtype)
        self._num_envs = num_envs
        self._earlier = EarlierPolicies(num_envs)
        row_bytes = 8 * math.prod(shape)
        self._updates_per_batch = max(BATCH_BYTES // (self.batch_size * row_bytes), 1)
        if self.prioritised is not None:
            self._priorities = Priorities(self.buffer.rows, self.prioritised)
            self._updates_per_batch = 1  # each update changes the priorities

    @property
    def steps_per_round(self) -> int:
        return math.ceil(self.train_every / self._num_envs) * self._num_envs

    @property
    def reserved_bytes(self) -> tuple[int, int]:
        """Size of the replay buffer in bytes, and how much of it is not yet written."""
        tree = 0 if self._priorities is None else self._priorities.bytes
        return self.buffer.bytes + tree, self.buffer.unwritten_bytes

    @property
    def memory_bytes(self) -> int:
        """Size of the written part of the replay buffer and of earlier policies in bytes."""
        reserved, unwritten = self.reserved_bytes
        return reserved - unwritten + self._earlier.bytes

    def forget_memory(self) -> None:
        self.buffer.clear()
        if self._priorities is not None and self.prioritised is not None:
            self._priorities = Priorities(self.buffer.rows, self.prioritised)

    def recent_observations(self) -> Array:
        rows = torch.from_numpy(self.buffer.newest(self._experience_steps))
        encoded: Array = self._setup.encoder.encode(rows, self.task_id).numpy()
        return encoded

    def recent_critic_inputs(self) -> tuple[Tensor, Tensor | None]:
        sampled = self.buffer.at(self.buffer.newest_transitions(self._experience_steps), self.gamma)
        ids = None if sampled.task_ids is None else torch.from_numpy(sampled.task_ids)
        encoded = self._setup.encoder.encode(
            torch.from_numpy(sampled.observations), self.task_id if ids is None else ids
        )
        inputs = critic_inputs(encoded, torch.from_numpy(sampled.actions)).to(self._setup.device)
        return inputs, self.task_ids_of(len(inputs))

    def collect(self, collector: Collector, progress: float) -> list[Array]:
        if collector.fresh:
            self.buffer.interrupt()
        done = self.position.step - self._exploration_start
        exploring = self.learning_starts if self.random_steps is None else self.random_steps
        indices = []
        for _ in range(self.steps_per_round // self._num_envs):
            indices.append(self._step(collector, progress, initial=done < exploring))
            done += self._num_envs
        return indices

    @property
    def capabilities(self) -> frozenset[str]:
        # An episode of one step takes two rows: the rows of a round must not be overwritten before its updates.
        steps = self.steps_per_round // self._num_envs
        transitions = {"transitions"} if 2 * steps < self.buffer.rows // self._num_envs else set()
        critic = set() if self.critic_refusal else {"critic"}
        return frozenset({"off_policy"} | transitions | critic)

    @property
    def lacking(self) -> Mapping[str, str]:
        reason = "its replay buffer has fewer rows than two rounds; set capacity higher, or train_every lower"
        return {"transitions": reason}

    def batches(self, collected: list[Array], collector: Collector, progress: float) -> Iterator[TransitionBatch]:
        self.round.begin(lambda: self._collected_transitions(np.stack(collected), collector))
        if self._priorities is not None:
            self._priorities.add(np.concatenate(collected))
        started = self.position.update == 0 and self.position.segment == 0
        self._experience_steps = self.steps_per_round + (0 if started else self._experience_steps)
        if self.position.step - self._exploration_start + self.steps_per_round > self.learning_starts:
            self.begin_round()
            yield from self._sample_batches(collector, progress)

    def _step(self, collector: Collector, progress: float, initial: bool) -> Array:
        observations = collector.observations
        self._action_masks = collector.masks
        if not initial:
            actions = self.explore(collector.encode(observations), progress)
        elif len(self._earlier):
            actions = self._explore_as_before(collector)
        else:
            actions = self.random_actions(len(observations))
        step = collector.step(self.for_environment(actions))
        if initial and len(self._earlier):
            self._earlier.record(step.ended, collector.last_returns(step.ended))
        return self.buffer.add(
            observations,
            actions,
            step.rewards,
            step.next_observations,
            step.terminated,
            step.ended,
            step.masks,
            collector.task_id,
        )

    def _explore_as_before(self, collector: Collector) -> Array:
        """Return exploratory actions of an earlier policy, as late in its training."""
        policy = self._earlier.acting(collector.starts)
        current, self.acting = self.acting, policy.forward
        observations, task = collector.observations, policy.task_id
        ids = None if task is None else np.full(len(observations), task)
        try:
            return self.explore(collector.encode(observations, ids), 1.0)
        finally:
            self.acting = current

    @property
    def chooses_first_actions(self) -> bool:
        return True

    def start_exploration(self, policy: str, finished: Experience) -> None:
        if policy in ("uniform", "best_return"):
            self._exploration_start = self.position.step
        if policy == "best_return":
            self._earlier.add(self.modules[self.host.primary], finished.parts[-1].task_id)

    def _sample_batches(self, collector: Collector, progress: float) -> Iterator[TransitionBatch]:
        remaining = self.steps_per_round if self.gradient_steps < 0 else self.gradient_steps
        while remaining:
            count = min(remaining, self._updates_per_batch)
            indices, batch = self._sample_batch(collector, count * self.batch_size, progress)
            yield batch
            if self._priorities is not None:
                assert self._errors is not None
                self._priorities.update(indices, self._errors.cpu().numpy())
            remaining -= count

    def _collected_transitions(self, indices: Array, collector: Collector) -> Transitions:
        """Return the transitions (T, N) at rows of the replay buffer, encoded."""
        arrays, sampled = self.buffer.arrays, self.buffer.at(indices.reshape(-1), self.gamma)

        def sequences(column: Array) -> Tensor:
            return self._tensor(column.reshape(*indices.shape, *column.shape[1:]))

        return Transitions(
            sequences(collector.encode(sampled.observations, sampled.task_ids)),
            sequences(sampled.actions),
            sequences(sampled.rewards),
            sequences(collector.encode(sampled.next_observations, sampled.task_ids)),
            self._tensor(arrays["terminated"][indices]),
            self._tensor(arrays["ended"][indices]),
            next_masks=None if sampled.masks is None else sequences(sampled.masks),
            task_ids=None if sampled.task_ids is None else sequences(sampled.task_ids),
        )

    def after_update(self, errors: Tensor | None) -> None:
        self._errors = errors

    def _sample_batch(self, collector: Collector, rows: int, progress: float) -> tuple[Array, TransitionBatch]:
        weights = None
        if self._priorities is None:
            indices = self.buffer.sample_indices(rows, self.rng)
        else:
            indices, importance = self._priorities.sample(rows, self.buffer.valid, self.rng, progress)
            weights = self._tensor(importance)
        sampled = self.buffer.at(indices, self.gamma, self.n_step)
        return indices, TransitionBatch(
            self._tensor(collector.encode(sampled.observations, sampled.task_ids)),
            self._tensor(sampled.actions),
            self._tensor(sampled.rewards),
            self._tensor(collector.encode(sampled.next_observations, sampled.task_ids)),
            self._tensor(sampled.discounts),
            weights,
            None if sampled.masks is None else self._tensor(sampled.masks),
            None if sampled.task_ids is None else self._tensor(sampled.task_ids),
        )

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._setup.device)

    def learner_state(self) -> dict[str, Any]:
        return {
            "buffer": self.buffer.state_dict(),
            "priorities": None if self._priorities is None else self._priorities.state_dict(),
            "experienced": self._experience_steps,
            "exploration_start": self._exploration_start,
            "earlier": self._earlier.state_dict(),
            "targets": {name: dict(module.state_dict()) for name, module in self.target_networks.items()},
            "own": self.own_state(),
        }

    def load_learner_state(self, state: Mapping[str, Any]) -> None:
        self.buffer.load_state_dict(state["buffer"])
        if self._priorities is not None:
            self._priorities.load_state_dict(state["priorities"])
        self._experience_steps = state["experienced"]
        self._exploration_start = state.get("exploration_start", 0)  # missing in checkpoints of older versions
        if "earlier" in state:
            self._earlier.load_state_dict(state["earlier"], lambda: self.modules[self.host.primary])
        for name, module in self.target_networks.items():
            module.load_state_dict(state["targets"][name])
        self.load_own_state(state["own"])
