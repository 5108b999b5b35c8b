"""Guards of models of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field
from stable_baselines3.common.base_class import BaseAlgorithm
from torch.optim import Optimizer

from rlcl.errors import UnsupportedError
from rlcl.learners.sb3.host import Sb3Host, host_of
from rlcl.protection.guard import Guard
from rlcl.seeding import Seeds
from rlcl.types import Method, Visibility

__all__ = ["Sb3Guard"]


@define(eq=False)
class EnvSteps:
    """Count of the env steps of the current or last experience, over any number of calls of ``learn``.

    ``learn`` restarts the count of the model, unless it is called with ``reset_num_timesteps=False``.

    Args:
        model: the model.
    """

    model: BaseAlgorithm
    _earlier: int = field(init=False, default=0)  # of earlier calls; subtracts steps before the experience
    _call: int = field(init=False, default=0)  # of the current or last call
    _started: float = field(init=False, default=0.0)  # when that call started

    def __call__(self) -> int:
        started = getattr(self.model, "start_time", 0.0)
        if started != self._started:
            self._earlier += self._call
            self._started = started
        self._call = self.model.num_timesteps - self.model._num_timesteps_at_start
        return self._earlier + self._call

    def restart(self, counted: int = 0) -> None:
        """Set the present count."""
        self._earlier += counted - self()


@define(eq=False)
class Sb3Guard(Guard[Sb3Host]):
    """Methods that are attached to a model of Stable-Baselines3; :func:`rlcl.protect` creates it."""

    _steps: EnvSteps = field(kw_only=True)

    @classmethod
    def of(cls, model: BaseAlgorithm, methods: Sequence[Method], seeds: Seeds) -> Sb3Guard:
        """Create the guard of a model."""
        steps = EnvSteps(model)
        return cls(host_of(model, Visibility(), steps), methods, seeds, steps=steps)

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        self._steps()
        return super()._before_step(optimizer, args, kwargs)

    def _prepare(self, data: Any, task_id: int | None) -> None:
        if data is not None or task_id is not None:
            raise UnsupportedError(f"{self.host.name} collects its own data, without task ids; use guard.experience()")
        if not self._continued:
            self._steps.restart()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "env_steps": self._steps()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._steps.restart(state["env_steps"])
