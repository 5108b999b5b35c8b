"""The actions that environments allow, where they say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from rlcl.errors import EnvironmentApiError, Problem

if TYPE_CHECKING:
    from rlcl.data.environments.environment import Environment

__all__ = [
    "AnswersMasks",
    "action_masks",
    "choices",
    "masks_that_followed",
    "random_action",
    "tells_masks",
    "told_mask",
]

Array = np.ndarray[Any, Any]
TRIED = 100  # env steps that are asked for masks


def choices(space: gym.Space[Any]) -> tuple[int, ...]:
    """How many actions each choice of a space has, (2,) for a bit; empty where actions are not counted."""
    if isinstance(space, gym.spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, gym.spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return tuple(map(int, space.nvec))
    if isinstance(space, gym.spaces.MultiBinary) and len(space.shape) == 1:
        return (2,) * space.shape[0]
    return ()


def told_mask(env: gym.Env[Any, Any], info: Mapping[str, Any], asked: bool) -> Array | None:
    """(K,) bool, which actions an environment allows now; None where it does not say.

    Args:
        env: the environment.
        info: of the reset or step that led here.
        asked: whether it has a method ``action_masks()`` that is to be asked where info has no ``action_mask``.

    Raises:
        Problem: it is no mask of the environment's actions.
    """
    mask = info.get("action_mask")
    if mask is None and not asked:
        return None
    if mask is None:
        named = env.get_wrapper_attr("action_masks")
        mask = named() if callable(named) else named
    sizes = choices(env.action_space)
    return None if mask is None or not sizes else _one_mask(mask, sizes)


def _one_mask(mask: Any, sizes: tuple[int, ...]) -> Array:
    """(K,) bool of a mask, or of one a choice."""
    if isinstance(mask, np.ndarray) and mask.dtype == bool and mask.ndim == 1:
        found = mask.copy()
    else:
        try:
            found = np.hstack([np.ravel(part) for part in mask]).astype(bool)
        except (TypeError, ValueError):
            raise Problem(f"expected an action mask of {sum(sizes)} truth values, got {mask!r}") from None
    if found.size != sum(sizes):
        raise Problem(f"expected an action mask of {sum(sizes)} truth values, one an action, got {found.size}")
    return found


def random_action(space: gym.Space[Any], mask: Array | None) -> Any:
    """An action drawn evenly from those that are allowed, by the generator of the space.

    Args:
        space: of actions.
        mask: (K,) bool; None for all.
    """
    if mask is None:
        return space.sample()
    parts = np.split(mask.astype(np.int8), np.cumsum(choices(space))[:-1])
    if isinstance(space, gym.spaces.Discrete):
        return space.sample(parts[0])
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.sample(tuple(parts))
    return space.sample(np.array([2 if part.all() else part[1] for part in parts], np.int8))  # 2 stands for either


class AnswersMasks(gym.Wrapper[Any, Any, Any, Any]):
    """Answers ``action_masks()`` by the last ``info["action_mask"]`` of an environment; all of a state without one."""

    _mask: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._mask = info.get("action_mask")
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._mask = info.get("action_mask")
        return observation, reward, terminated, truncated, info

    def action_masks(self) -> Array:
        """(K,) bool, which of K choices are allowed now; all where the environment did not say."""
        if self._mask is None:
            return np.ones(sum(choices(self.action_space)), bool)
        mask: Array = np.asarray(self._mask).astype(bool)
        return mask


def tells_masks(source: Environment) -> bool:
    """Whether the environments of a source tell in any of their first states which actions they allow."""
    env = source.make()
    env.action_space.seed(source.seed)
    try:
        _, info = env.reset(seed=source.seed)
        for _ in range(TRIED):
            if "action_mask" in info:
                return True
            _, _, terminated, truncated, info = env.step(env.action_space.sample())
            if terminated or truncated:
                _, info = env.reset()
        return "action_mask" in info
    finally:
        env.close()


def action_masks(vector: VectorEnv[Any], info: Mapping[str, Any]) -> Array | None:
    """(N, K) bool, which of K choices each environment allows now; None where none of them says.

    An environment says it by ``info["action_mask"]`` (K,) of a reset or step, as Gymnasium's Taxi
    does, or by a method ``action_masks()``, as sb3-contrib has it. K is the number of actions; of several choices
    at once (MultiDiscrete) those of all, one after the other. One that says nothing of a state allows all in it.

    Raises:
        EnvironmentApiError: an environment allows nothing, or tells no mask of its actions.
    """
    found, told = info.get("action_mask"), info.get("_action_mask")
    if found is None:
        named = getattr(vector.unwrapped, "action_masks", None)  # of a native one
        found = named() if callable(named) else named
        if found is None:
            return None
    masks = _masks(found, told, vector.num_envs, choices(vector.single_action_space))
    if masks is None:
        return None
    sizes = choices(vector.single_action_space)
    for part in np.split(masks, np.cumsum(sizes)[:-1], 1) if len(sizes) > 1 else (masks,):
        if not part.any(1).all():
            raise EnvironmentApiError(
                f"environment {int(np.argmin(part.any(1)))} of {vector.num_envs} allows no action at all; its "
                'info["action_mask"] must allow one after every step and after every reset'
            )
    return masks


def _masks(found: Any, told: Any, count: int, sizes: tuple[int, ...]) -> Array | None:
    """(N, K) bool of what info holds of N environments, all True of those that say nothing."""
    if not sizes:
        return None
    said = np.ones(count, bool) if told is None else np.asarray(told, bool)
    if isinstance(found, np.ndarray) and found.dtype != object:
        if found.size != count * sum(sizes):
            raise EnvironmentApiError(
                f"the action masks of {count} environments have the shape {found.shape}, expected "
                f"({count}, {sum(sizes)}): one truth value an action"
            )
        masks: Array = found.reshape(count, -1).astype(bool) | ~said[:, None]
        return masks
    masks = np.ones((count, sum(sizes)), bool)
    for row in np.flatnonzero(said):
        try:
            if found[row] is not None:
                masks[row] = _one_mask(found[row], sizes)
        except Problem as error:
            raise EnvironmentApiError(f"environment {int(row)} of {count}: {error}") from error
    return masks


def masks_that_followed(masks: Array, ended: Array, info: Mapping[str, Any]) -> Array:
    """(N, K) bool of the states that followed a step, the last one of an episode before its reset.

    Args:
        masks: (N, K) bool of the states to act in next.
        ended: (N,) bool, whether an episode ended in that step.
        info: of that step; a last state of which it says nothing, or which allows nothing, allows all.
    """
    if not ended.any():
        return masks
    told = info.get("final_info", {})
    if "action_mask" not in told:
        return np.where(ended[:, None], True, masks)
    last = _masks(told["action_mask"], told.get("_action_mask"), len(masks), (masks.shape[1],))
    assert last is not None
    return np.where(ended[:, None], last | ~last.any(1, keepdims=True), masks)
