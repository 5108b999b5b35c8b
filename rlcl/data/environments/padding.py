"""Common spaces of environments that differ in their observations or actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from attrs import frozen

from rlcl.data.environments.action_masks import current_mask
from rlcl.data.environments.contract import shorten
from rlcl.data.environments.flattening import flattening_remedy, is_flattenable
from rlcl.errors import DataError, EnvironmentApiError, Problem

__all__ = ["PaddedActions", "PaddedObservations", "Padding", "common_spaces"]

Array = np.ndarray[Any, Any]
Spaces = tuple[gym.Space[Any], gym.Space[Any]]


@frozen
class Padding:
    """Sizes to which an environment's spaces are padded.

    Args:
        observations: length of the vectors of observations.
        actions: number of Discrete actions; None if the action spaces are equal.
    """

    observations: int
    actions: int | None

    def around(self, env: gym.Env[Any, Any], name: str) -> gym.Env[Any, Any]:
        """Return an environment with the padded spaces; ``name`` is its name for messages."""
        if self.actions is not None:
            env = PaddedActions(env, self.actions, name)
        return PaddedObservations(env, self.observations)


def common_spaces(names: Sequence[str], spaces: Sequence[Spaces]) -> Padding:
    """Return the sizes that the spaces of all environments fit into.

    Args:
        names: names of the tasks, for messages.
        spaces: observation space and action space of each task.

    Raises:
        DataError: an observation space cannot be flattened, or the action spaces have no union.
    """
    for index, (name, (observations, _)) in enumerate(zip(names, spaces, strict=True)):
        if not is_flattenable(observations):
            raise DataError(
                f"stream.tasks[{index}] ({name}): its observation space {shorten(observations)} cannot be padded: "
                f"{flattening_remedy(observations)}"
            )
    length = max(gym.spaces.flatdim(observations) for observations, _ in spaces)
    first, *others = [actions for _, actions in spaces]
    if all(actions == first for actions in others):
        return Padding(length, None)
    if all(isinstance(actions, gym.spaces.Discrete) for _, actions in spaces):
        return Padding(length, max(int(actions.n) for _, actions in spaces))  # type: ignore[attr-defined]
    index = next(i for i, (_, actions) in enumerate(spaces) if actions != first)
    raise DataError(
        f"stream.tasks[{index}] ({names[index]}): its action space {shorten(spaces[index][1])} differs from the first "
        f"task's, {shorten(first)}; spaces: pad needs Discrete actions, or the same action space in all tasks"
    )


class PaddedObservations(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper whose observations are flat vectors, padded with zeros.

    Args:
        env: the environment.
        length: length of the vectors.
    """

    def __init__(self, env: gym.Env[Any, Any], length: int) -> None:
        super().__init__(env)
        flat = gym.spaces.flatten_space(env.observation_space)
        assert isinstance(flat, gym.spaces.Box)
        missing = (0, length - int(np.prod(flat.shape)))
        low, high = (np.pad(np.ravel(bound).astype(np.float32), missing) for bound in (flat.low, flat.high))
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self._padded(observation), info

    def step(self, action: Any) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._padded(observation), reward, terminated, truncated, info

    def _padded(self, observation: Any) -> Array:
        flat = np.ravel(np.asarray(gym.spaces.flatten(self.env.observation_space, observation)))
        padded = np.zeros(self.observation_space.shape or (), np.float32)
        padded[: flat.size] = flat
        return padded


class PaddedActions(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper with further Discrete actions, which its mask never allows.

    Args:
        env: the environment.
        count: number of actions, those of the environment first.
        name: name of the environment, for messages.
    """

    def __init__(self, env: gym.Env[Any, Any], count: int, name: str) -> None:
        super().__init__(env)
        assert isinstance(env.action_space, gym.spaces.Discrete)
        self._start, self._own, self._name = int(env.action_space.start), int(env.action_space.n), name
        self._has_mask_method = env.has_wrapper_attr("action_masks")
        self.action_space = gym.spaces.Discrete(count)
        self._count = count

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._with_mask(info, terminated=False)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if int(action) >= self._own:
            raise EnvironmentApiError(
                f"environment {self._name}: action {int(action)} was chosen, but it has {self._own} actions; the "
                "others belong to other tasks of the stream, and are masked"
            )
        observation, reward, terminated, truncated, info = self.env.step(int(action) + self._start)
        return observation, reward, terminated, truncated, self._with_mask(info, terminated)

    def _with_mask(self, info: dict[str, Any], terminated: bool) -> dict[str, Any]:
        try:
            allowed = current_mask(self.env, info, self._has_mask_method and not terminated)
        except Problem as problem:
            if not terminated:
                raise EnvironmentApiError(f"environment {self._name}: {problem}; correct it") from problem
            allowed = None  # the mask of a terminal state has no meaning
        mask = np.zeros(self._count, bool)
        mask[: self._own] = True if allowed is None else allowed
        return {**info, "action_mask": mask}
