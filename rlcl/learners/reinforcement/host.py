"""Adapter that exposes a reinforcement learner to methods and probes through the ``Host`` interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.methods.attach import NO_TASKS
from rlcl.methods.parts.experience_tasks import has_single_tasks
from rlcl.types import ActionEvaluation, Batch, Setup, Transitions

if TYPE_CHECKING:
    from rlcl.learners.reinforcement.learner import ReinforcementLearner

__all__ = ["ReinforcementHost"]


@frozen(eq=False)
class ReinforcementHost:
    """Adapter from a reinforcement learner to the :class:`rlcl.types.Host` interface, without targets and loss.

    Args:
        learner: a prepared learner.
        setup: setup of the learner.
    """

    learner: ReinforcementLearner
    setup: Setup
    loss: None = None

    @property
    def name(self) -> str:
        return self.learner.name

    @property
    def kind(self) -> str:
        return self.learner.kind

    @property
    def provides(self) -> frozenset[str]:
        visibility = self.setup.stream.visibility
        capabilities = {
            "batch": True,
            "native": True,
            "boundaries": visibility.boundaries == "announced",
            "task_id": visibility.in_training and self.sequence_length is None,
            "one_task": self._one_task,
            "task_id_everywhere": self.learner.tasks > 0 and self.sequence_length is None,
        }
        return self.learner.capabilities | {name for name, provided in capabilities.items() if provided}

    @cached_property
    def _one_task(self) -> bool:
        return has_single_tasks(self.setup.stream)

    @property
    def lacking(self) -> Mapping[str, str]:
        """See :class:`rlcl.types.LackingHost`."""
        return {**self.learner.lacking, **({} if self.sequence_length is None else NO_TASKS)}

    @property
    def choices(self) -> Sequence[int]:
        """See :class:`rlcl.types.ChoosingHost`."""
        return self.learner.choices

    @property
    def sequence_length(self) -> int | None:
        """See :class:`rlcl.types.SequenceHost`."""
        return self.learner.sequence_length

    @property
    def primary(self) -> str:
        return next(iter(self.learner.modules))

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return self.learner.modules

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return self.learner.optimizers

    @property
    def batch(self) -> Batch | None:
        return self.learner.batch

    @property
    def followers(self) -> Sequence[nn.Module]:
        """See :class:`rlcl.types.FollowedHost`."""
        return self.learner.followers

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        return self.learner.outputs(x, task_ids)

    def sample_inputs(self, module: str, n: int | None, rng: np.random.Generator) -> Batch:
        """See :class:`rlcl.types.CriticHost`."""
        if module == self.primary:
            return self.sample(n, rng)
        inputs, ids = self.learner.recent_critic_inputs()
        rows = torch.from_numpy(rng.permutation(len(inputs))[:n]).to(inputs.device)
        return Batch(inputs[rows], task_ids=None if ids is None else ids[rows])

    def module_outputs(self, module: str, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """See :class:`rlcl.types.CriticHost`."""
        return self.outputs(x, task_ids) if module == self.primary else self.learner.critic_outputs(x, task_ids)

    @property
    def gamma(self) -> float:
        """See :class:`rlcl.types.TransitionHost`."""
        return self.learner.gamma

    @property
    def collected(self) -> Transitions | None:
        """See :class:`rlcl.types.TransitionHost`."""
        return self.learner.round.transitions

    def transition_loss(self, module: str, transitions: Transitions, rng: np.random.Generator) -> Tensor:
        """See :class:`rlcl.types.TransitionHost`."""
        with torch.enable_grad():
            return self.learner.transition_loss(module, transitions, rng)

    def evaluate_actions(self, transitions: Transitions) -> ActionEvaluation:
        """See :class:`rlcl.types.BehaviourHost`."""
        with torch.enable_grad():
            return self.learner.evaluate_actions(transitions)

    def values(self, observations: Tensor, task_ids: Tensor | None) -> Tensor:
        """See :class:`rlcl.types.BehaviourHost`."""
        with torch.no_grad():
            return self.learner.state_values(observations, task_ids)

    def sample(self, n: int | None, rng: np.random.Generator) -> Batch:
        """Sample at most ``n`` observations or sequences of the current experience without replacement, or all."""
        rows = self.learner.recent_observations()
        sampled = rows[rng.permutation(len(rows))[:n]]
        ids = self.learner.task_ids_of(len(sampled)) if self.sequence_length is None else None
        return Batch(torch.from_numpy(sampled).to(self.setup.device), task_ids=ids)
