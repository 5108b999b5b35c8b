"""Batched training of PPO with several seeds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from rlcl.learners.fast.batched_environments import BatchedCollector, BatchedGenerators
from rlcl.learners.fast.batched_weights import BatchedOptimizer, ParameterBlock
from rlcl.learners.reinforcement.actor_critic import ActorCriticPasses
from rlcl.learners.reinforcement.logged_values import LoggedValues
from rlcl.learners.reinforcement.ppo import Ppo, RolloutBatch
from rlcl.learners.reinforcement.rollout import Rollout, collect_rollout
from rlcl.learners.reinforcement.rollout_minibatches import Columns

__all__ = ["BatchedPpo", "split_rollout"]


class BatchedPpo:
    """Batch of PPO learners with one shared parameter block; an update of the batch updates every learner.

    Args:
        learners: S prepared learners with the same config.
    """

    def __init__(self, learners: Sequence[Ppo]) -> None:
        first = learners[0]
        self._learners = learners
        block = ParameterBlock([learner.policy.parameters() for learner in learners])
        for learner in learners:
            learner.ready()  # because its weights were moved in memory
        self._joint = joint = copy.copy(first)
        joint.passes = ActorCriticPasses([block.passes(network) for network in first.policy.side_by_side])
        joint.free = first.free if first.policy.free is None else block.stacked_parameter(first.policy.free)
        joint.shuffler = BatchedRolloutShuffler([learner.shuffler.generator for learner in learners])  # type: ignore[assignment]
        optimizers = [learner.torch_optimizer for learner in learners]
        joint.torch_optimizer = BatchedOptimizer(first.optimizer, block, optimizers, first.clip_norm)
        joint.logged = self.logged = LoggedValues()
        self._acting = block.forward(first.policy.actor)
        self._observations = np.concatenate([learner.rollout_observations for learner in learners], 1)
        self._rng = BatchedGenerators([learner.rng for learner in learners])

    @staticmethod
    def networks(learner: Ppo) -> Sequence[nn.Module]:
        """Return the networks that must be chains of linear layers."""
        return learner.policy.side_by_side

    @staticmethod
    def refusals(learner: Ppo) -> Iterator[tuple[str, str]]:
        """Yield the settings that batched seeds do not support, each with the reason and the remedy."""
        if learner.recurrent is not None:
            yield "recurrent", "does not support recurrent networks; remove recurrent"
        if learner.target_kl is not None:
            yield "target_kl", "runs the same number of passes for all seeds, but target_kl varies it; remove target_kl"

    def collect(self, collector: BatchedCollector, progress: float) -> list[Rollout]:
        """Act in the environments of all learners, and return the rollout of each learner."""
        ppo, count = self._joint, len(self._learners)
        free = ppo.free.detach().cpu().numpy()
        if free.ndim > 1:  # one row per environment
            free = free.repeat(self._observations.shape[1] // count, 0)
        rollout = collect_rollout(
            collector,  # type: ignore[arg-type]
            self._observations,
            lambda x, masks: ppo.distribution.sample(ppo.action_outputs(self._acting(x), masks), free, self._rng),  # type: ignore[arg-type]
            ppo.distribution.for_environment,
        )
        return split_rollout(rollout, count)

    @property
    def collects(self) -> bool:
        """Whether :meth:`collect` is supported: only on the CPU, where policies act in NumPy."""
        return self._learners[0].host.setup.device == "cpu"

    def update_on(self, batch: RolloutBatch) -> None:
        """Update all learners with their stacked batches."""
        self._joint.update_on(batch)


class BatchedRolloutShuffler:
    """A :class:`rlcl.learners.reinforcement.rollout_minibatches.RolloutShuffler` for columns (S, B, ...) of S rollouts.

    Args:
        generators: random generator of each rollout.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self._generators = generators

    def minibatches(self, columns: Columns, size: int) -> Iterator[Columns]:
        """Yield minibatches of ``size`` rows of each rollout, in a random order."""
        _, rows = columns["log_probs"].shape
        if size >= rows:
            yield columns
            return
        orders = [i * rows + torch.randperm(rows, generator=g) for i, g in enumerate(self._generators)]
        order = torch.cat(orders).to(columns["log_probs"].device)
        shuffled = [column.flatten(0, 1).index_select(0, order).view_as(column) for column in columns.values()]
        parts = [torch.split(column, size, 1) for column in shuffled]
        yield from (dict(zip(columns, part, strict=True)) for part in zip(*parts, strict=True))


def split_rollout(rollout: Rollout, count: int) -> list[Rollout]:
    """Split a rollout into ``count`` rollouts, each with an equal number of consecutive environments."""
    num_envs = rollout.rewards.shape[1] // count
    steps, environments = rollout.indices
    actions: Any = rollout.actions.reshape(len(rollout.rewards), count * num_envs, *rollout.actions.shape[1:])
    rollouts = []
    for first in range(0, count * num_envs, num_envs):
        selected = slice(first, first + num_envs)
        cut = (environments >= first) & (environments < first + num_envs)
        rollouts.append(
            Rollout(
                rollout.observations[:, selected],
                actions[:, selected].reshape(-1, *rollout.actions.shape[1:]),
                None,
                rollout.rewards[:, selected],
                rollout.terminated[:, selected],
                rollout.ended[:, selected],
                rollout.last[selected],
                rollout.cut[cut],
                (steps[cut], environments[cut] - first),
            )
        )
    return rollouts
