"""What a Stable-Baselines3 model resets between two experiences."""

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
from rlcl.methods.attach import Attached
from rlcl.types import BoundaryPolicy

__all__ = ["Sb3Boundary"]


@frozen(eq=False)
class Sb3Boundary:
    """Carries a boundary policy out on a model, but for the encoder.

    Args:
        model: the algorithm's instance.
        attached: its methods.
        policy: of the run.
        explored: how much it explores at the start: its parameters, each with its optimizer and its first values.
    """

    model: BaseAlgorithm
    attached: Attached
    policy: BoundaryPolicy
    explored: Sequence[tuple[Tensor, Optimizer, Tensor]]

    @classmethod
    def of(cls, model: BaseAlgorithm, attached: Attached, policy: BoundaryPolicy) -> Sb3Boundary:
        """For a model that has learned nothing yet."""
        return cls(model, attached, policy, [(p, o, p.detach().clone()) for p, o in _exploration(model)])

    def cross(self) -> None:
        """Between two experiences."""
        reset: Mapping[str, Callable[[], None]] = {
            "optimizer": self._reset_optimizers,
            "memory": self._reset_memories,
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
        buffer = getattr(self.model, "replay_buffer", None)
        if buffer is not None:
            buffer.reset()

    def _reset_exploration(self) -> None:
        for parameter, optimizer, first in self.explored:
            parameter.data.copy_(first)
            optimizer.state.pop(parameter, None)

    def refuses(self, key: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        if key == "optimizer":
            return None if _optimizers(self.model) else "it has none"
        if key == "memory":
            return self._memory_refusal()
        return self._exploration_refusal() if key == "exploration" else None

    def _memory_refusal(self) -> str | None:
        buffer = getattr(self.model, "replay_buffer", None)
        if isinstance(buffer, HerReplayBuffer):
            return "HerReplayBuffer draws from whole episodes, and an empty one has none"
        if buffer is not None and not self.attached.remembering:
            return None
        return memory_refusal(self.attached)

    def _exploration_refusal(self) -> str | None:
        if self.explored:
            return None
        if hasattr(self.model, "exploration_schedule"):
            return (
                "its epsilon follows a schedule, which learner.schedule_over: experience starts anew at each boundary"
            )
        return "it learns no amount of exploration: no standard deviation or temperature of its own"


def _optimizers(model: Any) -> list[Optimizer]:
    names, _ = model._get_torch_save_params()
    found = [attrgetter(name)(model) for name in names]
    return [each for each in found if isinstance(each, Optimizer)]


def _exploration(model: Any) -> list[tuple[Tensor, Optimizer]]:
    """Standard deviations of policies (PPO, A2C; all with gSDE) and the temperature of SAC and its kin."""
    parts = [model.policy, *([model.policy.actor] if hasattr(model.policy, "actor") else [])]
    found = [(p.log_std, p.optimizer) for p in parts if isinstance(getattr(p, "log_std", None), nn.Parameter)]
    if getattr(model, "ent_coef_optimizer", None) is not None:
        found.append((model.log_ent_coef, model.ent_coef_optimizer))
    return found
