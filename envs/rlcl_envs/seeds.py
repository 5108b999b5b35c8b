"""Seeds for environments that do not take them from ``reset``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

__all__ = ["SeedMethod"]


class SeedMethod(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper that passes the seed of ``reset`` to the method ``seed`` of the environment, which Gym had before 0.26.

    The environments of Meta-World are among them: their ``reset`` ignores its seed, and draws the goal before it.

    Args:
        env: the environment, with a method ``seed(int)``.

    Raises:
        ValueError: the environment has no method ``seed``.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        if not callable(getattr(env.unwrapped, "seed", None)):
            raise ValueError(f"expected an environment with a method seed(int), got {type(env.unwrapped).__name__}")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Seed the environment, where a seed is given, and reset it."""
        if seed is not None:
            inner: Any = self.env.unwrapped
            inner.seed(seed)
        return self.env.reset(seed=seed, options=options)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the wrapper, which has none."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned."""
