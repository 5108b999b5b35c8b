"""PPO under several seeds, whose updates are one computation."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from rlcl.learners.fast.batched_environments import Collectors, Generators
from rlcl.learners.fast.batched_weights import Block, StepTogether
from rlcl.learners.reinforcement.actor_critic import ActorCriticPasses
from rlcl.learners.reinforcement.notes import Notes
from rlcl.learners.reinforcement.order import Columns
from rlcl.learners.reinforcement.ppo import Lesson, Ppo
from rlcl.learners.reinforcement.rollout import Rollout, rolled_out

__all__ = ["BatchedPpo", "parted"]


class BatchedPpo:
    """Learners whose weights become rows of one block; an update of it is an update of each.

    Args:
        learners: S of one config, ready.
    """

    def __init__(self, learners: Sequence[Ppo]) -> None:
        first = learners[0]
        self._learners = learners
        block = Block([learner.policy.parameters() for learner in learners])
        for learner in learners:
            learner.ready()  # its weights lie elsewhere now
        self._joint = joint = copy.copy(first)
        joint.passes = ActorCriticPasses([block.passes(network) for network in first.policy.side_by_side])
        joint.free = first.free if first.policy.free is None else block.of(first.policy.free)
        joint.order = Orders([learner.order.generator for learner in learners])  # type: ignore[assignment]
        optimizers = [learner.torch_optimizer for learner in learners]
        joint.torch_optimizer = StepTogether(first.optimizer, block, optimizers, first.clip_norm)
        joint.notes = self.notes = Notes()
        self._acting = block.forward(first.policy.actor)
        self._observations = np.concatenate([learner.rollout_observations for learner in learners], 1)
        self._rng = Generators([learner.rng for learner in learners])

    @staticmethod
    def networks(learner: Ppo) -> Sequence[nn.Module]:
        """Those that must be chains of linear layers."""
        return learner.policy.side_by_side

    @staticmethod
    def refusals(learner: Ppo) -> Iterator[tuple[str, str]]:
        """Settings that it cannot have, each with why and what to do instead."""
        if learner.recurrent is not None:
            yield "recurrent", "takes networks that remember nothing; leave it out"
        if learner.target_kl is not None:
            yield "target_kl", "makes the passes of all seeds together, and this ends each elsewhere; leave it out"

    def collect(self, collectors: Collectors, progress: float) -> list[Rollout]:
        """What came of acting in the environments of all, for each."""
        ppo, count = self._joint, len(self._learners)
        free = ppo.free.detach().cpu().numpy()
        if free.ndim > 1:  # one row an environment
            free = free.repeat(self._observations.shape[1] // count, 0)
        rollout = rolled_out(
            collectors,  # type: ignore[arg-type]
            self._observations,
            lambda x, masks: ppo.distribution.draw(ppo.action_outputs(self._acting(x), masks), free, self._rng),  # type: ignore[arg-type]
            ppo.distribution.for_environment,
        )
        return parted(rollout, count)

    @property
    def collects(self) -> bool:
        """Whether :meth:`collect` can act for all: in NumPy."""
        return self._learners[0].host.setup.device == "cpu"

    def improve(self, lesson: Lesson) -> None:
        """Learns from lessons of all, stacked."""
        self._joint.improve(lesson)


class Orders:
    """:class:`rlcl.learners.reinforcement.order.Order` for columns (S, B, ...) of S rollouts."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self._generators = generators

    def minibatches(self, columns: Columns, size: int) -> Iterator[Columns]:
        _, rows = columns["log_probs"].shape
        if size >= rows:
            yield columns
            return
        orders = [i * rows + torch.randperm(rows, generator=its) for i, its in enumerate(self._generators)]
        order = torch.cat(orders).to(columns["log_probs"].device)
        rolled = [column.flatten(0, 1).index_select(0, order).view_as(column) for column in columns.values()]
        parts = [torch.split(column, size, 1) for column in rolled]
        yield from (dict(zip(columns, part, strict=True)) for part in zip(*parts, strict=True))


def parted(rollout: Rollout, count: int) -> list[Rollout]:
    """As many rollouts, each of as many of the environments that stand next to each other."""
    each = rollout.rewards.shape[1] // count
    steps, environments = rollout.places
    actions: Any = rollout.actions.reshape(len(rollout.rewards), count * each, *rollout.actions.shape[1:])
    found = []
    for first in range(0, count * each, each):
        its = slice(first, first + each)
        mine = (environments >= first) & (environments < first + each)
        found.append(
            Rollout(
                rollout.observations[:, its],
                actions[:, its].reshape(-1, *rollout.actions.shape[1:]),
                None,
                rollout.rewards[:, its],
                rollout.terminated[:, its],
                rollout.ended[:, its],
                rollout.last[its],
                rollout.cut[mine],
                (steps[mine], environments[mine] - first),
            )
        )
    return found
