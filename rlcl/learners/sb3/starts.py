"""Spaces of whole numbers that start at another number than 0, which Stable-Baselines3 takes to start at 0."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

__all__ = ["FromZero", "from_zero", "shifted", "starting_at_zero"]


def from_zero(space: gym.Space[Any]) -> gym.Space[Any]:
    """The space with every Discrete and MultiDiscrete part starting at 0; the same object where all do."""
    if starting_at_zero(space):
        return space
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict({name: from_zero(part) for name, part in space.spaces.items()})
    if isinstance(space, gym.spaces.MultiDiscrete):
        return gym.spaces.MultiDiscrete(space.nvec, dtype=space.dtype)
    assert isinstance(space, gym.spaces.Discrete)
    return gym.spaces.Discrete(int(space.n))


def starting_at_zero(space: gym.Space[Any]) -> bool:
    """Whether every Discrete and MultiDiscrete part starts at 0."""
    if isinstance(space, gym.spaces.Dict):
        return all(map(starting_at_zero, space.spaces.values()))
    return not np.any(_start(space))


def shifted(values: Any, space: gym.Space[Any], sign: int) -> Any:
    """Values of a space, one or many of them, with its starts added (sign 1) or taken away (sign -1).

    Args:
        values: (..., *shape) arrays or tensors; of a Dict by the names of its parts.
        space: as the environment has it.
        sign: 1 for what the environment takes, -1 for what Stable-Baselines3 does.
    """
    if starting_at_zero(space):
        return values
    if isinstance(space, gym.spaces.Dict):
        return {**values, **{name: shifted(values[name], part, sign) for name, part in space.spaces.items()}}
    start = sign * np.asarray(_start(space))
    return values + (torch.as_tensor(start) if isinstance(values, torch.Tensor) else start)


def _start(space: gym.Space[Any]) -> Any:
    return space.start if isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete) else 0


class FromZero(VecEnvWrapper):
    """Environments whose spaces start at 0, around such whose spaces do not."""

    def __init__(self, venv: VecEnv) -> None:
        self._observed, self._acted = venv.observation_space, venv.action_space
        super().__init__(venv, from_zero(self._observed), from_zero(self._acted))

    def reset(self) -> VecEnvObs:
        found: VecEnvObs = shifted(self.venv.reset(), self._observed, -1)
        return found

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        self.venv.step_async(shifted(actions, self._acted, 1))

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = shifted(info["terminal_observation"], self._observed, -1)
        return shifted(observations, self._observed, -1), rewards, dones, infos

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        if method_name == "compute_reward":  # hindsight asks for the rewards of goals that it has seen from 0
            achieved, desired, infos = args
            goals: Any = self._observed
            args = (shifted(achieved, goals["achieved_goal"], 1), shifted(desired, goals["desired_goal"], 1), infos)
        return self.venv.env_method(method_name, *args, indices=indices, **kwargs)
