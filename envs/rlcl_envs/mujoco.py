"""Changes of MuJoCo environments of Gymnasium."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

__all__ = ["ScaledFriction"]


class ScaledFriction(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper that scales the friction of every geom of a MuJoCo model, sliding, torsional and rolling.

    MuJoCo takes the larger friction of two geoms in contact. A lower friction of the floor alone therefore changes
    nothing.

    Args:
        env: the environment, with a ``model`` of MuJoCo.
        scale: factor, above 0.

    Raises:
        ValueError: the factor is not above 0.
    """

    def __init__(self, env: gym.Env[Any, Any], scale: float) -> None:
        super().__init__(env)
        if not scale > 0:
            raise ValueError(f"scale: expected a number above 0, got {scale}")
        model: Any = env.unwrapped.model  # type: ignore[attr-defined]
        model.geom_friction[:] = model.geom_friction * scale

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the wrapper, which has none."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned."""
