"""What learners share that learn from a memory of transitions."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn

from rlcl.config import option
from rlcl.data.sources import Environment
from rlcl.errors import UnsupportedError
from rlcl.learners.reinforcement.collecting import Collector
from rlcl.learners.reinforcement.learner import ReinforcementLearner
from rlcl.learners.reinforcement.priorities import Priorities, Prioritised
from rlcl.learners.reinforcement.replay import ReplayBuffer

__all__ = ["Drawn", "OffPolicyLearner", "followed", "frozen_copy"]

Array = np.ndarray[Any, Any]

DRAWN_BYTES = 2**22  # of observations, which one draw for several updates may take


class Drawn(NamedTuple):
    """Transitions as a learner takes them, each over k steps, k at most n.

    Args:
        observations: (B, *encoded) float32.
        actions: (B, *action).
        rewards: (B,) float32, the sum of ``gamma^i r_{t+i}`` over the k steps.
        following: (B, *encoded) float32 k steps later.
        discounts: (B,) float32, ``gamma^k``; 0 where that state is terminal.
        weights: (B,) float32 importance weights; None for 1.
        masks: (B, K) bool, the actions that the states in ``following`` allow; None for all.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    following: Tensor
    discounts: Tensor
    weights: Tensor | None
    masks: Tensor | None = None

    def split(self, rows: int) -> Iterator[Drawn]:
        """Minibatches of so many rows, in order; (..., B) columns keep their leading dimensions."""
        if self.rewards.shape[-1] == rows:
            yield self
            return
        along = self.rewards.dim() - 1
        columns = [torch.split(column, rows, along) for column in self[:5]]
        some = (repeat(None) if column is None else torch.split(column, rows, along) for column in self[5:])
        yield from map(Drawn, *columns, *some)


@define(kw_only=True, eq=False)
class OffPolicyLearner(ReinforcementLearner):
    """Keeps transitions, and learns from some of them drawn at random.

    Observations are kept raw and encoded, by the statistics of the moment, when they are drawn; rewards are kept
    as they were normalised when they were given. The memory lives on from experience to experience.

    Args:
        capacity: rows of the memory, over all environments: one a step, and one more an episode.
        batch_size: transitions in a minibatch.
        learning_starts: env steps of uniformly random actions before the first update, once in a stream.
        train_every: env steps, over all environments, between two rounds of updates; rounded up to whole steps of all.
        gradient_steps: updates in each round; -1 for as many as env steps.
        n_step: steps whose rewards are summed before the value of the state that follows.
        prioritised: draws transitions by their last error; null for uniformly.

    Source: Lin 1992; Mnih et al. 2015, algorithm 1; n steps: Hessel et al. 2018, Rainbow, section 3.
    """

    capacity: int = option(1_000_000, ge=1)
    batch_size: int = option(256, ge=1)
    learning_starts: int = option(100, ge=0)
    train_every: int = option(1, ge=1)
    gradient_steps: int = option(1, ge=-1)
    n_step: int = option(1, ge=1)
    prioritised: Prioritised | None = option(None)

    buffer: ReplayBuffer = field(init=False, default=None)
    _priorities: Priorities | None = field(init=False, default=None)
    _errors: Tensor | None = field(init=False, default=None)  # of the last minibatch
    _num_envs: int = field(init=False, default=1)
    _updates_a_draw: int = field(init=False, default=1)  # updates whose minibatches are one draw
    _experienced: int = field(init=False, default=0)  # env steps of the experience in progress
    _allowed: Array | None = field(init=False, default=None)  # (N, K) bool, actions to choose from; None for all

    # What a concrete learner says beside.

    @abstractmethod
    def random_actions(self, count: int) -> Array:
        """(count, *action) uniformly random actions, as the memory keeps them."""

    @abstractmethod
    def explore(self, observations: Array, progress: float) -> Array:
        """(N, *action) actions to learn from, as the memory keeps them, for encoded observations (N, *encoded)."""

    @abstractmethod
    def for_environment(self, actions: Array) -> Array:
        """The same actions as the environment takes them."""

    @abstractmethod
    def improve(self, lesson: Drawn) -> Tensor:
        """One update for each ``batch_size`` rows; (B,) the errors of the last one, without gradient."""

    def begun(self) -> None:
        for name, target in self.targets.items():
            target.load_state_dict(self.modules[name].state_dict())

    def begin_round(self) -> None:
        """Called before each round of updates."""

    # What it says itself.

    def keep(self, shape: tuple[int, ...], actions: tuple[int, ...], dtype: Any, num_envs: int) -> None:
        """Makes the memory; :meth:`build` calls it.

        Args:
            shape: of one encoded observation.
            actions, dtype: shape and type of one action.
            num_envs: that run in parallel.
        """
        if self.train_every > self.capacity:
            raise UnsupportedError(
                f"learner.train_every: got {self.train_every:,}, and learner {self.name} keeps {self.capacity:,} rows "
                "(capacity): transitions would be lost before it learns from them; set it lower, or capacity higher"
            )
        source = self._setup.stream[0].train
        assert isinstance(source, Environment)
        space = source.spaces()[0]
        assert space.shape is not None
        self.buffer = ReplayBuffer(self.capacity, num_envs, space.shape, space.dtype, actions, dtype)
        self._num_envs = num_envs
        row = 8 * math.prod(shape)
        self._updates_a_draw = max(DRAWN_BYTES // (self.batch_size * row), 1)
        if self.prioritised is not None:
            self._priorities = Priorities(self.buffer.rows, self.prioritised)
            self._updates_a_draw = 1  # an update changes what the next one draws

    @property
    def steps_per_round(self) -> int:
        return math.ceil(self.train_every / self._num_envs) * self._num_envs

    @property
    def reserved_bytes(self) -> tuple[int, int]:
        """What the memory takes in all, and how much of it the system has not had to give yet."""
        tree = 0 if self._priorities is None else self._priorities.bytes
        return self.buffer.bytes + tree, self.buffer.unwritten_bytes

    @property
    def memory_bytes(self) -> int:
        """What of the memory has been written."""
        whole, unwritten = self.reserved_bytes
        return whole - unwritten

    def forget_memory(self) -> None:
        self.buffer.clear()
        if self._priorities is not None and self.prioritised is not None:
            self._priorities = Priorities(self.buffer.rows, self.prioritised)

    def recent(self) -> Array:
        rows = torch.from_numpy(self.buffer.newest(self._experienced))
        encoded: Array = self._setup.encoder.encode(rows).numpy()
        return encoded

    def collect(self, collector: Collector, progress: float) -> list[Array]:
        if collector.fresh:
            self.buffer.interrupt()
        done = self.position.step
        places = []
        for _ in range(self.steps_per_round // self._num_envs):
            places.append(self._step(collector, progress, at_random=done < self.learning_starts))
            done += self._num_envs
        return places

    def lessons(self, collected: list[Array], collector: Collector, progress: float) -> Iterator[Drawn]:
        if self._priorities is not None:
            self._priorities.add(np.concatenate(collected))
        started = self.position.update == 0 and self.position.segment == 0
        self._experienced = self.steps_per_round + (0 if started else self._experienced)
        if self.position.step + self.steps_per_round > self.learning_starts:
            self.begin_round()
            yield from self._draws(collector, progress)

    def _step(self, collector: Collector, progress: float, at_random: bool) -> Array:
        observations = collector.observations
        self._allowed = collector.masks
        if at_random:
            actions = self.random_actions(len(observations))
        else:
            actions = self.explore(collector.encode(observations), progress)
        step = collector.step(self.for_environment(actions))
        return self.buffer.add(
            observations, actions, step.rewards, step.following, step.terminated, step.ended, step.masks
        )

    def _draws(self, collector: Collector, progress: float) -> Iterator[Drawn]:
        left = self.steps_per_round if self.gradient_steps < 0 else self.gradient_steps
        while left:
            count = min(left, self._updates_a_draw)
            places, drawn = self._draw(collector, count * self.batch_size, progress)
            yield drawn
            if self._priorities is not None:
                assert self._errors is not None
                self._priorities.update(places, self._errors.cpu().numpy())
            left -= count

    def learned(self, errors: Tensor | None) -> None:
        self._errors = errors

    def _draw(self, collector: Collector, rows: int, progress: float) -> tuple[Array, Drawn]:
        weights = None
        if self._priorities is None:
            places = self.buffer.draw(rows, self.rng)
        else:
            places, found = self._priorities.draw(rows, self.buffer.valid, self.rng, progress)
            weights = self._tensor(found)
        part = self.buffer.at(places, self.gamma, self.n_step)
        return places, Drawn(
            self._tensor(collector.encode(part.observations)),
            self._tensor(part.actions),
            self._tensor(part.rewards),
            self._tensor(collector.encode(part.following)),
            self._tensor(part.discounts),
            weights,
            None if part.masks is None else self._tensor(part.masks),
        )

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._setup.device)

    @property
    @abstractmethod
    def targets(self) -> Mapping[str, nn.Module]:
        """Target networks."""

    @abstractmethod
    def own_state(self) -> dict[str, Any]:
        """What the concrete learner has beside modules, optimizers, targets and memory."""

    @abstractmethod
    def load_own_state(self, state: Mapping[str, Any]) -> None: ...

    def learner_state(self) -> dict[str, Any]:
        return {
            "buffer": self.buffer.state_dict(),
            "priorities": None if self._priorities is None else self._priorities.state_dict(),
            "experienced": self._experienced,
            "targets": {name: dict(module.state_dict()) for name, module in self.targets.items()},
            "own": self.own_state(),
        }

    def load_learner_state(self, state: Mapping[str, Any]) -> None:
        self.buffer.load_state_dict(state["buffer"])
        if self._priorities is not None:
            self._priorities.load_state_dict(state["priorities"])
        self._experienced = state["experienced"]
        for name, module in self.targets.items():
            module.load_state_dict(state["targets"][name])
        self.load_own_state(state["own"])


def frozen_copy(module: nn.Module) -> nn.Module:
    """A module with the same weights, which no gradient reaches."""
    return copy.deepcopy(module).requires_grad_(False)


def followed(target: Tensor, source: Tensor, share: float) -> None:
    """Moves a target's weights by a share of the way towards their source, ``target + share (source - target)``.

    Args:
        target, source: (..., W) all weights, as :func:`rlcl.learners.fast.fused_adam.lay_out` gives them.

    Source: Lillicrap et al. 2016, Continuous control with deep reinforcement learning, algorithm 1.
    """
    if share == 1:
        target.copy_(source)
    else:
        target.lerp_(source, share)
