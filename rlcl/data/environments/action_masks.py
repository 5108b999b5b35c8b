"""The actions that environments allow, where they say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from rlcl.errors import EnvironmentApiError

if TYPE_CHECKING:
    from rlcl.data.environments.environment import Environment

__all__ = ["AnswersMasks", "TellsMasks", "action_masks", "masks_that_followed", "tells_masks"]

Array = np.ndarray[Any, Any]


class TellsMasks(gym.Wrapper[Any, Any, Any, Any]):
    """Tells what ``action_masks()`` of an environment allows as ``info["action_mask"]``, as the others do.

    So it is known of an episode's last state too, and in another process.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._with_mask(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, info if terminated else self._with_mask(info)

    def _with_mask(self, info: dict[str, Any]) -> dict[str, Any]:
        return {"action_mask": np.asarray(self.env.get_wrapper_attr("action_masks")()), **info}


class AnswersMasks(gym.Wrapper[Any, Any, Any, Any]):
    """Answers ``action_masks()`` by the last ``info["action_mask"]`` of an environment that has no such method."""

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
        """(K,) bool, which of K choices are allowed now.

        Raises:
            EnvironmentApiError: the environment did not say after its last step or reset.
        """
        if self._mask is None:
            raise EnvironmentApiError('info["action_mask"] is missing; it must come with every step and every reset')
        mask: Array = np.asarray(self._mask).astype(bool)
        return mask


def tells_masks(source: Environment) -> bool:
    """Whether the environments of a source tell which actions they allow."""
    env = source.make()
    try:
        return env.has_wrapper_attr("action_masks") or "action_mask" in env.reset(seed=source.seed)[1]
    finally:
        env.close()


def action_masks(vector: VectorEnv[Any], info: Mapping[str, Any]) -> Array | None:
    """(N, K) bool, which of K choices each environment allows now; None where it does not say.

    An environment says it by ``info["action_mask"]`` (K,) of each reset and step, as Gymnasium's Taxi
    does, or by a method ``action_masks()``, as sb3-contrib has it. K is the number of actions; of several choices
    at once (MultiDiscrete) those of all, one after the other.

    Raises:
        EnvironmentApiError: an environment allows nothing.
    """
    found = info.get("action_mask")
    if found is None:
        named = getattr(vector.unwrapped, "action_masks", None)  # of a native one
        if named is None:
            return None
        found = named()
    masks = np.asarray(found).reshape(vector.num_envs, -1).astype(bool)
    if not masks.any(1).all():
        raise EnvironmentApiError(
            f"environment {int(np.argmin(masks.any(1)))} of {vector.num_envs} allows no action at all; its "
            'info["action_mask"] must allow one after every step and after every reset'
        )
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
    found = np.asarray(told["action_mask"]).reshape(masks.shape) if "action_mask" in told else np.zeros_like(masks)
    last = found.astype(bool)
    return np.where(ended[:, None], last | ~last.any(1, keepdims=True), masks)
