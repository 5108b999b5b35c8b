"""Environments drawn by seed: spaces of Gymnasium within each other, and habits good and bad."""

from __future__ import annotations

import random
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

__all__ = ["make_env_class"]

BAD = (
    "nan",
    "outside",
    "wrong shape",
    "wrong dtype",
    "a list",
    "no info",
    "four values",
    "reward nan",
    "reward text",
    "reward array",
    "reward none",
    "terminated none",
    "terminated array",
    "raises later",
    "raises at reset",
    "info none",
    "ends at once",
    "huge reward",
)


def make_env_class(seed: int) -> type[gym.Env[Any, Any]]:
    """A class of environments; two thirds of them keep the API."""
    rng = random.Random(seed)
    observed, acted = _space(rng, 0), _actions(rng)
    habit = rng.choice(BAD) if rng.random() < 0.35 else ""
    length, late, masks = rng.choice((1, 2, 7, 10**9)), rng.choice((1, 3, 30)), rng.random() < 0.2

    class Drawn(gym.Env[Any, Any]):
        metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

        def __init__(self) -> None:
            self.observation_space, self.action_space = observed, acted
            self.steps, self.habit = 0, habit

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.observation_space.seed(seed)
            if habit == "raises at reset":
                raise OSError("the simulator is gone")
            self.steps = 0
            found = self._observed()
            return found if habit == "no info" else (found, None if habit == "info none" else self._info())

        def step(self, action: Any) -> Any:
            self.steps += 1
            if not self.action_space.contains(action):
                raise ValueError(f"{action!r} is no action")
            if habit == "raises later" and self.steps > late:
                raise ZeroDivisionError("division by zero")
            reward: Any = float(self.steps % 3)
            now = self.steps > late
            reward = {
                "reward nan": float("nan"),
                "reward text": "1",
                "reward array": np.ones(2),
                "reward none": None,
                "huge reward": 1e300,
            }.get(habit if now else "", reward)
            ended: Any = habit == "ends at once" or self.steps >= length
            ended = {"terminated none": None, "terminated array": np.array([False, True])}.get(
                habit if now else "", ended
            )
            found = self._observed(), reward, ended, False, self._info()
            return found[:4] if habit == "four values" else found

        def _observed(self) -> Any:
            made = self.observation_space.sample()
            if self.steps < late or not isinstance(made, np.ndarray):
                return made
            return {
                "nan": np.full_like(made, np.nan) if made.dtype.kind == "f" else made,
                "outside": made + made.dtype.type(100),
                "wrong shape": np.concatenate([made.ravel(), made.ravel()]),
                "wrong dtype": made.astype(np.float64),
                "a list": made.tolist(),
            }.get(habit, made)

        def _info(self) -> dict[str, Any]:
            if masks and isinstance(self.action_space, spaces.Discrete):
                return {"action_mask": np.ones(int(self.action_space.n), np.int8)}
            return {}

    return Drawn


def _space(rng: random.Random, depth: int) -> gym.Space[Any]:
    kind = rng.choice(("box", "box", "box", "box", "discrete", "binary", "multi", "dict", "tuple", "text", "image"))
    if kind == "box" or depth > 2:
        shape = rng.choice(((), (1,), (3,), (2, 2), (0,), (3, 2, 2)))
        low, high = rng.choice(((-1.0, 1.0), (-np.inf, np.inf), (0.0, np.inf), (0.0, 0.0), (-1e30, 1e30)))
        return spaces.Box(low, high, shape, rng.choice((np.float32, np.float32, np.float64)))  # type: ignore[arg-type]
    if kind == "image":
        return spaces.Box(0, 255, rng.choice(((3, 8, 8), (8, 8, 3), (40, 40, 1), (8, 8))), np.uint8)
    if kind == "discrete":
        return spaces.Discrete(rng.choice((1, 2, 50)), start=rng.choice((0, 1, -3)))
    if kind == "binary":
        return spaces.MultiBinary(rng.choice((1, 4)))
    if kind == "multi":
        return spaces.MultiDiscrete(rng.choice(([2, 3], [1], [5])))
    if kind == "text":
        return spaces.Text(5)
    parts = [_space(rng, depth + 1) for _ in range(rng.choice((0, 1, 2)))]
    if kind == "tuple":
        return spaces.Tuple(parts)
    return spaces.Dict({f"part{i}": part for i, part in enumerate(parts)})


def _actions(rng: random.Random) -> gym.Space[Any]:
    return rng.choice(
        (
            lambda: spaces.Discrete(rng.choice((1, 2, 5))),
            lambda: spaces.Discrete(3, start=rng.choice((1, -1))),
            lambda: spaces.Box(-1, 1, rng.choice(((1,), (3,), (2, 2), ())), np.float32),
            lambda: spaces.Box(-np.inf, np.inf, (2,), np.float32),
            lambda: spaces.Box(0, 2, (2,), np.float64),
            lambda: spaces.MultiDiscrete([2, 3]),
            lambda: spaces.MultiBinary(3),
            lambda: _space(rng, 1),
        )
    )()
