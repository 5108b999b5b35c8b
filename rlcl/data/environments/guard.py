"""Wrapper that copies and checks the results of an environment, and provides action masks in one form."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rlcl.data.environments.action_masks import current_mask
from rlcl.data.environments.contract import copy_observation, unpack_reset, unpack_step
from rlcl.errors import EnvironmentApiError, Problem

__all__ = ["EnvironmentGuard"]

STATISTICS = ("success", "is_success")  # entries of info that are kept as numbers, besides the episode statistics


class EnvironmentGuard(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper that checks the results of reset and step, and copies observations and masks.

    Copies are needed because an environment may write the next observation into the same array. The mask of the
    allowed actions is in ``info["action_mask"]``, (K,) bool, if the environment provides one.

    Args:
        env: the environment, with the user's wrappers.
        name: name for messages.
        side_by_side: whether the environment is part of a vector environment. If true, ``info`` contains only entries
            whose type and shape are the same in every step: the mask, the success of the episode, and the episode
            statistics. Gymnasium merges the entries of parallel environments into arrays whose dtype and shape are
            those of the first value; later values with another shape would cause an error.
    """

    def __init__(self, env: gym.Env[Any, Any], name: str, side_by_side: bool = False) -> None:
        super().__init__(env)
        self._name, self._steps, self._space = name, 0, env.observation_space
        self._has_mask_method, self._side_by_side = env.has_wrapper_attr("action_masks"), side_by_side
        box = isinstance(self._space, gym.spaces.Box)
        self._box_type = (self._space.shape, self._space.dtype) if box else ()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        result = self.env.reset(seed=seed, options=options)
        try:
            observation, info = unpack_reset(result)
            return copy_observation(self._space, observation), self._checked_info(info, terminated=False)
        except Problem as error:
            raise self._api_error("reset", error) from error

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        self._steps += 1
        try:
            observation, reward, terminated, truncated, info = unpack_step(result)
            # Fast path for the usual case: step is called tens of thousands of times per second.
            if type(observation) is np.ndarray and (observation.shape, observation.dtype) == self._box_type:
                observation = observation.copy()
            else:
                observation = copy_observation(self._space, observation)
            if info or self._has_mask_method:
                info = self._checked_info(info, terminated)
            return observation, reward, terminated, truncated, info
        except Problem as error:
            raise self._api_error("step", error) from error

    def _checked_info(self, info: dict[str, Any], terminated: bool) -> dict[str, Any]:
        if self._has_mask_method or "action_mask" in info:
            info = self._with_mask(info, terminated)
        return _mergeable(info) if info and self._side_by_side else info

    def _with_mask(self, info: dict[str, Any], terminated: bool) -> dict[str, Any]:
        try:
            mask = current_mask(self.env, info, self._has_mask_method and not terminated)
        except Problem:
            if not terminated:  # the mask of a terminal state has no meaning
                raise
            mask = None
        if mask is not None:
            return {**info, "action_mask": mask}
        return {key: value for key, value in info.items() if key != "action_mask"}

    def _api_error(self, method: str, error: Problem) -> EnvironmentApiError:
        message = str(error)
        if message.startswith("an observation"):
            message = f"{method} returned {message}"
        return EnvironmentApiError(f"environment {self._name}: {message} (at its env step {self._steps:,}); correct it")


def _mergeable(info: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of ``info`` that have the same type and shape in every step."""
    entries = {"action_mask": info["action_mask"]} if "action_mask" in info else {}
    entries |= _numbers({key: info[key] for key in STATISTICS if key in info})
    episode = info.get("episode")
    return {**entries, "episode": _numbers(episode)} if isinstance(episode, dict) else entries


def _numbers(values: dict[Any, Any]) -> dict[str, Any]:
    """Return the numeric values as floats, by name."""
    return {
        str(key): float(value)
        for key, value in values.items()
        if isinstance(value, bool | int | float | np.number | np.bool_)
    }
