"""Base class of the single environments: parameters by name, and saving and restoring of the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np

from rlcl_envs.physics import parameters
from rlcl_envs.vector import ClassicVector, generator_from

__all__ = ["ClassicSingle"]

if TYPE_CHECKING:  # subclasses also derive from an environment of Gymnasium
    Base = gym.Env[Any, Any]
else:
    Base = object


class ClassicSingle(Base):
    """A mixin for an environment of Gymnasium, with parameters by name and a state that can be saved.

    In the bases of a class, Gymnasium's environment must follow this mixin. Steps and rendering are those of
    Gymnasium's environment.

    Args:
        physics: values of the vector environment's parameters, by name.
        settings: settings of Gymnasium's environment.
    """

    vector: ClassVar[type[ClassicVector]]  # the vector environment with the same parameters
    STATE_ATTRIBUTES: ClassVar[tuple[str, ...]] = ("state",)  # attributes that later steps depend on

    def __init__(self, physics: Mapping[str, float] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        for name, parameter in parameters(self.vector).items():
            if not hasattr(self, name):  # a constant in Gymnasium's formulas
                setattr(self, name, parameter.default)
        self.set_physics(**(physics or {}))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        """Reset as Gymnasium's environment does; ``options={"physics": {...}}`` permanently sets parameters by name."""
        other_options = None if options is None else dict(options)
        if other_options is not None:
            self.set_physics(**other_options.pop("physics", {}))
        observation, info = super().reset(seed=seed, options=other_options)
        return observation, info

    @property
    def physics(self) -> dict[str, float]:
        """Values of the parameters, by name."""
        return {name: float(getattr(self, name)) for name in parameters(self.vector)}

    def set_physics(self, **values: float) -> None:
        """Change parameters from the next step on.

        Raises:
            ValueError: there is no parameter of that name, or a value is out of range. No parameter is changed then.
        """
        known = parameters(self.vector)
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ValueError(f"{type(self).__name__} has no parameter {unknown[0]!r}; it has {', '.join(known)}")
        checked = {name: float(known[name].checked(value, 1)[0]) for name, value in values.items()}
        for name, value in checked.items():
            setattr(self, name, value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that later steps depend on, without the step count of the wrapper ``TimeLimit``."""
        return {
            "environment": type(self).__name__,
            "memory": {name: _copied(getattr(self, name, None)) for name in self.STATE_ATTRIBUTES},
            "physics": self.physics,
            "generator": None if self._np_random is None else dict(self._np_random.bit_generator.state),
            "seed": self._np_random_seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned.

        Raises:
            ValueError: the state is that of another kind of environment.
        """
        if state["environment"] != type(self).__name__:
            raise ValueError(f"expected the state of {type(self).__name__}, got that of {state['environment']}")
        self.set_physics(**state["physics"])
        for name, value in state["memory"].items():
            setattr(self, name, _copied(value))
        self._np_random = None if state["generator"] is None else generator_from(state["generator"])
        self._np_random_seed = state["seed"]


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
