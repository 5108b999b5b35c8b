"""An environment as everything else meets it: what it gives is copied, checked and tells its masks in one way."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rlcl.data.environments.action_masks import told_mask
from rlcl.data.environments.contract import after_reset, after_step, ours
from rlcl.errors import EnvironmentApiError, Problem

__all__ = ["Guard"]

STATISTICS = ("success", "is_success")  # what else of info is a number, and merged


class Guard(gym.Wrapper[Any, Any, Any, Any]):
    """Copies observations and masks, for an environment may write the next ones into the same arrays.

    Which actions are allowed stands in ``info["action_mask"]``, (K,) bool, where the environment says it at all.

    Args:
        env: the environment, under the wrappers that its user gave it.
        name: for messages.
        side_by_side: whether it is one of several, so that of info only what has the same form in every step is given
            on: the mask, whether the episode was a success, and its statistics. Gymnasium merges anything else into
            arrays of the first value's type and length, which another step's need not have.
    """

    def __init__(self, env: gym.Env[Any, Any], name: str, side_by_side: bool = False) -> None:
        super().__init__(env)
        self._name, self._steps, self._space = name, 0, env.observation_space
        self._asked, self._side_by_side = env.has_wrapper_attr("action_masks"), side_by_side
        box = isinstance(self._space, gym.spaces.Box)
        self._plain = (self._space.shape, self._space.dtype) if box else ()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        result = self.env.reset(seed=seed, options=options)
        try:
            observation, info = after_reset(result)
            return ours(self._space, observation), self._told(info, terminated=False)
        except Problem as error:
            raise self._refusal("reset", error) from error

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        self._steps += 1
        try:
            observation, reward, terminated, truncated, info = after_step(result)
            # The usual case at once: ten thousands of these are taken each second.
            if type(observation) is np.ndarray and (observation.shape, observation.dtype) == self._plain:
                observation = observation.copy()
            else:
                observation = ours(self._space, observation)
            if info or self._asked:
                info = self._told(info, terminated)
            return observation, reward, terminated, truncated, info
        except Problem as error:
            raise self._refusal("step", error) from error

    def _told(self, info: dict[str, Any], terminated: bool) -> dict[str, Any]:
        if self._asked or "action_mask" in info:
            info = self._with_mask(info, terminated)
        return _of_one_form(info) if info and self._side_by_side else info

    def _with_mask(self, info: dict[str, Any], terminated: bool) -> dict[str, Any]:
        try:
            mask = told_mask(self.env, info, self._asked and not terminated)
        except Problem:
            if not terminated:  # where nothing is done any more, a mask means nothing
                raise
            mask = None
        if mask is not None:
            return {**info, "action_mask": mask}
        return {key: value for key, value in info.items() if key != "action_mask"}

    def _refusal(self, method: str, error: Problem) -> EnvironmentApiError:
        said = str(error)
        gave = f"{method} gave {said}" if said.startswith("an observation") else said
        return EnvironmentApiError(f"environment {self._name}: {gave} (at its env step {self._steps:,}); correct it")


def _of_one_form(info: dict[str, Any]) -> dict[str, Any]:
    kept = {"action_mask": info["action_mask"]} if "action_mask" in info else {}
    kept |= _numbers({key: info[key] for key in STATISTICS if key in info})
    episode = info.get("episode")
    return {**kept, "episode": _numbers(episode)} if isinstance(episode, dict) else kept


def _numbers(values: dict[Any, Any]) -> dict[str, Any]:
    """Those that are numbers, by names."""
    return {
        str(key): float(value)
        for key, value in values.items()
        if isinstance(value, bool | int | float | np.number | np.bool_)
    }
