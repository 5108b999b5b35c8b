"""Conversion of discrete spaces with a nonzero start to spaces that start at 0, as Stable-Baselines3 assumes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

__all__ = ["ZeroBasedVecEnv", "shift_start", "starts_at_zero", "zero_based"]


def zero_based(space: gym.Space[Any]) -> gym.Space[Any]:
    """Return the space with all Discrete and MultiDiscrete parts starting at 0; the same object if they all do."""
    if starts_at_zero(space):
        return space
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict({name: zero_based(part) for name, part in space.spaces.items()})
    if isinstance(space, gym.spaces.MultiDiscrete):
        return gym.spaces.MultiDiscrete(space.nvec, dtype=space.dtype)
    assert isinstance(space, gym.spaces.Discrete)
    return gym.spaces.Discrete(int(space.n))


def starts_at_zero(space: gym.Space[Any]) -> bool:
    """Return whether all Discrete and MultiDiscrete parts start at 0."""
    if isinstance(space, gym.spaces.Dict):
        return all(map(starts_at_zero, space.spaces.values()))
    return not np.any(_start(space))


def shift_start(values: Any, space: gym.Space[Any], sign: int) -> Any:
    """Add the starts of a space to values (sign 1), or subtract them (sign -1).

    Args:
        values: (..., *shape) arrays or tensors; for a Dict space by the names of its parts.
        space: space of the environment.
        sign: 1 to convert to the environment's values, -1 to those of Stable-Baselines3.
    """
    if starts_at_zero(space):
        return values
    if isinstance(space, gym.spaces.Dict):
        return {**values, **{name: shift_start(values[name], part, sign) for name, part in space.spaces.items()}}
    start = sign * np.asarray(_start(space))
    return values + (torch.as_tensor(start) if isinstance(values, torch.Tensor) else start)


def _start(space: gym.Space[Any]) -> Any:
    return space.start if isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete) else 0


class ZeroBasedVecEnv(VecEnvWrapper):
    """Wrapper of environments, whose spaces start at 0."""

    def __init__(self, venv: VecEnv) -> None:
        self._observations, self._actions = venv.observation_space, venv.action_space
        super().__init__(venv, zero_based(self._observations), zero_based(self._actions))

    def reset(self) -> VecEnvObs:
        observations: VecEnvObs = shift_start(self.venv.reset(), self._observations, -1)
        return observations

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        self.venv.step_async(shift_start(actions, self._actions, 1))

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = shift_start(info["terminal_observation"], self._observations, -1)
        return shift_start(observations, self._observations, -1), rewards, dones, infos

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        if method_name == "compute_reward":  # called by HerReplayBuffer with zero-based goals
            achieved, desired, infos = args
            goals: Any = self._observations
            args = (
                shift_start(achieved, goals["achieved_goal"], 1),
                shift_start(desired, goals["desired_goal"], 1),
                infos,
            )
        return self.venv.env_method(method_name, *args, indices=indices, **kwargs)
