"""Action masks of environments: the actions that are allowed in a state."""

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
    "ActionMaskWrapper",
    "action_counts",
    "action_masks",
    "current_mask",
    "next_state_masks",
    "provides_masks",
    "random_action",
]

Array = np.ndarray[Any, Any]
PROBED_STEPS = 100  # env steps that are checked for masks


def action_counts(space: gym.Space[Any]) -> tuple[int, ...]:
    """Return the number of actions of each component of a space, 2 for a bit; empty if actions are not discrete."""
    if isinstance(space, gym.spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, gym.spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return tuple(map(int, space.nvec))
    if isinstance(space, gym.spaces.MultiBinary) and len(space.shape) == 1:
        return (2,) * space.shape[0]
    return ()


def current_mask(env: gym.Env[Any, Any], info: Mapping[str, Any], has_method: bool) -> Array | None:
    """Return the mask (K,) bool of the actions that an environment allows now, or None if it has no mask.

    Args:
        env: the environment.
        info: ``info`` of the last reset or step.
        has_method: whether the environment has a method ``action_masks()``, which is called if ``info`` has no
            ``action_mask``.

    Raises:
        Problem: the mask does not fit the action space.
    """
    mask = info.get("action_mask")
    if mask is None and not has_method:
        return None
    if mask is None:
        attribute = env.get_wrapper_attr("action_masks")
        mask = attribute() if callable(attribute) else attribute
    sizes = action_counts(env.action_space)
    return None if mask is None or not sizes else _flat_mask(mask, sizes)


def _flat_mask(mask: Any, sizes: tuple[int, ...]) -> Array:
    """Return one mask (K,) bool from a mask, or from one mask per component of the action space."""
    if isinstance(mask, np.ndarray) and mask.dtype == bool and mask.ndim == 1:
        flat = mask.copy()
    else:
        try:
            flat = np.hstack([np.ravel(part) for part in mask]).astype(bool)
        except (TypeError, ValueError):
            raise Problem(f"expected an action mask of {sum(sizes)} truth values, got {mask!r}") from None
    if flat.size != sum(sizes):
        raise Problem(f"expected an action mask of {sum(sizes)} truth values, one per action, got {flat.size}")
    return flat


def random_action(space: gym.Space[Any], mask: Array | None) -> Any:
    """Sample an allowed action uniformly, with the generator of the space.

    Args:
        space: action space.
        mask: (K,) bool; None if all actions are allowed.
    """
    if mask is None:
        return space.sample()
    parts = np.split(mask.astype(np.int8), np.cumsum(action_counts(space))[:-1])
    if isinstance(space, gym.spaces.Discrete):
        return space.sample(parts[0])
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.sample(tuple(parts))
    return space.sample(np.array([2 if part.all() else part[1] for part in parts], np.int8))  # 2 means either value


class ActionMaskWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper whose method ``action_masks()`` returns the last ``info["action_mask"]`` of an environment."""

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
        """Return the mask (K,) bool of the actions allowed now; all actions if the last ``info`` has no mask."""
        if self._mask is None:
            return np.ones(sum(action_counts(self.action_space)), bool)
        mask: Array = np.asarray(self._mask).astype(bool)
        return mask


def provides_masks(source: Environment) -> bool:
    """Return whether the environments of a source provide an action mask in any of their first states."""
    env = source.make()
    env.action_space.seed(source.seed)
    try:
        _, info = env.reset(seed=source.seed)
        for _ in range(PROBED_STEPS):
            if "action_mask" in info:
                return True
            _, _, terminated, truncated, info = env.step(env.action_space.sample())
            if terminated or truncated:
                _, info = env.reset()
        return "action_mask" in info
    finally:
        env.close()


def action_masks(vector: VectorEnv[Any], info: Mapping[str, Any]) -> Array | None:
    """Return the masks (N, K) bool of the actions that N environments allow now, or None if none provides a mask.

    An environment provides its mask in ``info["action_mask"]`` (K,) of a reset or step, as Gymnasium's Taxi does, or
    by a method ``action_masks()``, as in sb3-contrib. K is the number of actions. For an action with several
    components (MultiDiscrete) the masks of all components are concatenated. In a state without a mask all actions are
    allowed.

    Raises:
        EnvironmentApiError: an environment allows no action, or its mask does not fit the action space.
    """
    values, provided = info.get("action_mask"), info.get("_action_mask")
    if values is None:
        attribute = getattr(vector.unwrapped, "action_masks", None)  # of a native vector environment
        values = attribute() if callable(attribute) else attribute
        if values is None:
            return None
    masks = _stack_masks(values, provided, vector.num_envs, action_counts(vector.single_action_space))
    if masks is None:
        return None
    sizes = action_counts(vector.single_action_space)
    for part in np.split(masks, np.cumsum(sizes)[:-1], 1) if len(sizes) > 1 else (masks,):
        if not part.any(1).all():
            raise EnvironmentApiError(
                f"environment {int(np.argmin(part.any(1)))} of {vector.num_envs} allows no action; its "
                'info["action_mask"] must allow at least one after every step and reset'
            )
    return masks


def _stack_masks(values: Any, provided: Any, count: int, sizes: tuple[int, ...]) -> Array | None:
    """Stack the masks in the ``info`` of N environments to (N, K) bool; all True for environments without a mask."""
    if not sizes:
        return None
    has_mask = np.ones(count, bool) if provided is None else np.asarray(provided, bool)
    if isinstance(values, np.ndarray) and values.dtype != object:
        if values.size != count * sum(sizes):
            raise EnvironmentApiError(
                f"the action masks of {count} environments have the shape {values.shape}, expected "
                f"({count}, {sum(sizes)}): one truth value per action"
            )
        masks: Array = values.reshape(count, -1).astype(bool) | ~has_mask[:, None]
        return masks
    masks = np.ones((count, sum(sizes)), bool)
    for row in np.flatnonzero(has_mask):
        try:
            if values[row] is not None:
                masks[row] = _flat_mask(values[row], sizes)
        except Problem as error:
            raise EnvironmentApiError(f"environment {int(row)} of {count}: {error}") from error
    return masks


def next_state_masks(masks: Array, ended: Array, info: Mapping[str, Any]) -> Array:
    """Return the masks (N, K) bool of the next states of a step: at the end of an episode, of its last state.

    Args:
        masks: (N, K) bool of the current states, after any reset.
        ended: (N,) bool, whether an episode ended in that step.
        info: ``info`` of that step. A last state without a mask, or whose mask allows nothing, allows all actions.
    """
    if not ended.any():
        return masks
    final_info = info.get("final_info", {})
    if "action_mask" not in final_info:
        return np.where(ended[:, None], True, masks)
    last = _stack_masks(final_info["action_mask"], final_info.get("_action_mask"), len(masks), (masks.shape[1],))
    assert last is not None
    return np.where(ended[:, None], last | ~last.any(1, keepdims=True), masks)
