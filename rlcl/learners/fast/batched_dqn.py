"""Batched training of DQN with several seeds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from rlcl.learners.fast.batched_environments import BatchedCollector, BatchedGenerators
from rlcl.learners.fast.batched_weights import BatchedOptimizer, ParameterBlock
from rlcl.learners.reinforcement.dqn import Dqn
from rlcl.learners.reinforcement.logged_values import LoggedValues
from rlcl.learners.reinforcement.replay import ReplayBuffer
from rlcl.learners.reinforcement.transition_batch import TransitionBatch

__all__ = ["BatchedDqn", "join_buffers"]


class BatchedDqn:
    """Batch of DQN learners with shared parameter blocks and one replay buffer; an update updates every learner.

    Args:
        learners: S prepared learners with the same config.
    """

    def __init__(self, learners: Sequence[Dqn]) -> None:
        first = learners[0]
        self._learners = learners
        block = ParameterBlock([learner.policy.parameters() for learner in learners])
        target = ParameterBlock([learner.target.parameters() for learner in learners])
        for i, learner in enumerate(learners):
            learner.weights = [block.weights[i], target.weights[i]]
            learner.ready()  # because its weights were moved in memory
        self._joint = joint = copy.copy(first)
        joint.passes, joint.target_passes = block.passes(first.policy), target.passes(first.target)
        optimizers = [learner.torch_optimizer for learner in learners]
        joint.torch_optimizer = BatchedOptimizer(first.optimizer, block, optimizers, first.clip_norm)
        joint.buffer = join_buffers([learner.buffer for learner in learners])
        joint.acting = block.forward(first.policy)
        joint.rng = BatchedGenerators([learner.rng for learner in learners])  # type: ignore[assignment]
        joint.logged = self.logged = LoggedValues()

    @staticmethod
    def networks(learner: Dqn) -> Sequence[nn.Module]:
        """Return the networks that must be chains of linear layers."""
        return (learner.policy,)

    @staticmethod
    def refusals(learner: Dqn) -> Iterator[tuple[str, str]]:
        """Yield the settings that batched seeds do not support, each with the reason and the remedy: none for DQN."""
        yield from ()

    def collect(self, collector: BatchedCollector, progress: float) -> list[Any]:
        """Act in the environments of all learners; the transitions are stored in their replay buffers."""
        self._joint.position = self._learners[0].position
        self._joint.collect(collector, progress)  # type: ignore[arg-type]
        return [[] for _ in self._learners]

    @property
    def collects(self) -> bool:
        """Whether :meth:`collect` is supported: only on the CPU and without prioritized replay.

        Policies act in NumPy, and priorities belong to the replay buffer of one learner.
        """
        first = self._learners[0]
        return first.host.setup.device == "cpu" and first.prioritised is None

    def update_on(self, batch: TransitionBatch) -> Tensor | None:
        """Update all learners with their stacked batches, and return the errors (S, B)."""
        return self._joint.update_on(batch)


def join_buffers(buffers: Sequence[ReplayBuffer]) -> ReplayBuffer:
    """Combine replay buffers in one; the arrays of the given buffers become views of it."""
    first, states = buffers[0], [buffer.state_dict() for buffer in buffers]
    size, count = first.rows, first.num_envs
    shapes_and_dtypes = first.shape, first.dtype, first.action_shape, first.action_dtype
    joint = ReplayBuffer(size * len(buffers), count * len(buffers), *shapes_and_dtypes)
    for i, (buffer, state) in enumerate(zip(buffers, states, strict=True)):
        buffer.arrays = {name: np.asarray(array[i * size : (i + 1) * size]) for name, array in joint.arrays.items()}
        buffer.written = joint.written[i * count : (i + 1) * count]
        buffer.load_state_dict(state)
    return joint
