"""Resets of a Stable-Baselines3 model between two experiences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from attrs import frozen
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.learners.boundary import memory_refusal
from rlcl.methods.attach import AttachedMethods
from rlcl.types import BoundaryPolicy

__all__ = ["Sb3Boundary"]


@frozen(eq=False)
class Sb3Boundary:
    """Application of a boundary policy to a model, except for the encoder.

    Args:
        model: a model of Stable-Baselines3.
        attached: methods attached to the model.
        policy: boundary policy of the run.
        exploration: exploration parameters of the model, each with its optimizer and its initial value.
    """

    model: BaseAlgorithm
    attached: AttachedMethods
    policy: BoundaryPolicy
    exploration: Sequence[tuple[Tensor, Optimizer, Tensor]]

    @classmethod
    def of(cls, model: BaseAlgorithm, attached: AttachedMethods, policy: BoundaryPolicy) -> Sb3Boundary:
        """Create the boundary of an untrained model."""
        return cls(model, attached, policy, [(p, o, p.detach().clone()) for p, o in _exploration_parameters(model)])

    def cross(self) -> None:
        """Apply the policy between two experiences."""
        reset: Mapping[str, Callable[[], None]] = {
            "optimizer": self._reset_optimizers,
            "memory": self._reset_memories,
            "buffer": self._reset_buffer,
            "exploration": self._reset_exploration,
        }
        for key in self.policy.changes:
            if key in reset:
                reset[key]()

    def _reset_optimizers(self) -> None:
        for optimizer in _optimizers(self.model):
            optimizer.state.clear()

    def _reset_memories(self) -> None:
        self.attached.forget()
        self._reset_buffer()

    def _reset_buffer(self) -> None:
        buffer = getattr(self.model, "replay_buffer", None)
        if buffer is not None:
            buffer.reset()

    def _reset_exploration(self) -> None:
        for parameter, optimizer, initial in self.exploration:
            parameter.data.copy_(initial)
            optimizer.state.pop(parameter, None)

    def refuses(self, key: str, value: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        if key == "optimizer":
            return None if _optimizers(self.model) else "it has no optimizer"
        if key == "memory":
            return self._memory_refusal()
        if key == "buffer":
            return self._buffer_refusal()
        if key == "critic":
            return "its networks belong to another library"
        return self._exploration_refusal(value) if key == "exploration" else None

    def _buffer_refusal(self) -> str | None:
        buffer = getattr(self.model, "replay_buffer", None)
        if isinstance(buffer, HerReplayBuffer):
            return "HerReplayBuffer samples from finished episodes, and an empty buffer has none"
        return "it has no replay buffer" if buffer is None else None

    def _memory_refusal(self) -> str | None:
        buffer = getattr(self.model, "replay_buffer", None)
        if buffer is not None and (reason := self._buffer_refusal()) is not None:
            return reason
        if buffer is not None and not self.attached.remembering:
            return None
        return memory_refusal(self.attached)

    def _exploration_refusal(self, value: str) -> str | None:
        if value != "reset":
            return "it counts learning_starts from the start of the run; use a learner of rlcl"
        if self.exploration:
            return None
        if hasattr(self.model, "exploration_schedule"):
            return "its epsilon follows a schedule; learner.schedule_over: experience restarts it at each boundary"
        return "it has no learned exploration parameter (standard deviation or temperature)"


def _optimizers(model: Any) -> list[Optimizer]:
    names, _ = model._get_torch_save_params()
    values = [attrgetter(name)(model) for name in names]
    return [value for value in values if isinstance(value, Optimizer)]


def _exploration_parameters(model: Any) -> list[tuple[Tensor, Optimizer]]:
    """Return standard deviations of policies (PPO, A2C; all with gSDE) and the temperature of SAC and its variants."""
    parts = [model.policy, *([model.policy.actor] if hasattr(model.policy, "actor") else [])]
    parameters = [(p.log_std, p.optimizer) for p in parts if isinstance(getattr(p, "log_std", None), nn.Parameter)]
    if getattr(model, "ent_coef_optimizer", None) is not None:
        parameters.append((model.log_ent_coef, model.ent_coef_optimizer))
    return parameters
