"""DQN under several seeds, whose updates are one computation."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from rlcl.learners.fast.batched_environments import Collectors, Generators
from rlcl.learners.fast.batched_weights import Block, StepTogether
from rlcl.learners.reinforcement.dqn import Dqn
from rlcl.learners.reinforcement.notes import Notes
from rlcl.learners.reinforcement.off_policy import Drawn
from rlcl.learners.reinforcement.replay import ReplayBuffer

__all__ = ["BatchedDqn", "joined"]


class BatchedDqn:
    """Learners whose weights and memories become parts of one; an update of it is an update of each.

    Args:
        learners: S of one config, ready.
    """

    def __init__(self, learners: Sequence[Dqn]) -> None:
        first = learners[0]
        self._learners = learners
        block = Block([learner.policy.parameters() for learner in learners])
        target = Block([learner.target.parameters() for learner in learners])
        for i, learner in enumerate(learners):
            learner.weights = [block.weights[i], target.weights[i]]
            learner.ready()  # its weights lie elsewhere now
        self._joint = joint = copy.copy(first)
        joint.passes, joint.target_passes = block.passes(first.policy), target.passes(first.target)
        optimizers = [learner.torch_optimizer for learner in learners]
        joint.torch_optimizer = StepTogether(first.optimizer, block, optimizers, first.clip_norm)
        joint.buffer = joined([learner.buffer for learner in learners])
        joint.acting = block.forward(first.policy)
        joint.rng = Generators([learner.rng for learner in learners])  # type: ignore[assignment]
        joint.notes = self.notes = Notes()

    @staticmethod
    def networks(learner: Dqn) -> Sequence[nn.Module]:
        """Those that must be chains of linear layers."""
        return (learner.policy,)

    @staticmethod
    def refusals(learner: Dqn) -> Iterator[tuple[str, str]]:
        """Settings that it cannot have, each with why and what to do instead."""
        yield from ()

    def collect(self, collectors: Collectors, progress: float) -> list[Any]:
        """Acts in the environments of all; what came of it is in their memories."""
        self._joint.position = self._learners[0].position
        self._joint.collect(collectors, progress)  # type: ignore[arg-type]
        return [[] for _ in self._learners]

    @property
    def collects(self) -> bool:
        """Whether :meth:`collect` can act for all: in NumPy, and priorities are of one's own memory."""
        first = self._learners[0]
        return first.host.setup.device == "cpu" and first.prioritised is None

    def improve(self, lesson: Drawn) -> Tensor | None:
        """Learns from lessons of all, stacked; (S, B) errors."""
        return self._joint.improve(lesson)


def joined(buffers: Sequence[ReplayBuffer]) -> ReplayBuffer:
    """One memory of the rings of all of these, which are views of it from now on."""
    first, states = buffers[0], [buffer.state_dict() for buffer in buffers]
    size, count = first.rows, first.num_envs
    kinds = first.shape, first.dtype, first.action_shape, first.action_dtype
    whole = ReplayBuffer(size * len(buffers), count * len(buffers), *kinds)
    for i, (buffer, state) in enumerate(zip(buffers, states, strict=True)):
        buffer.arrays = {name: np.asarray(array[i * size : (i + 1) * size]) for name, array in whole.arrays.items()}
        buffer.written = whole.written[i * count : (i + 1) * count]
        buffer.load_state_dict(state)
    return whole
