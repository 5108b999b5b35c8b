"""The actions that environments allow, where they say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv

from rlcl.errors import EnvironmentApiError

__all__ = ["action_masks"]

Array = np.ndarray[Any, Any]


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
        found = _called(vector)
    if found is None:
        return None
    masks = np.asarray(found).reshape(vector.num_envs, -1).astype(bool)
    if not masks.any(1).all():
        raise EnvironmentApiError(
            f"environment {int(np.argmin(masks.any(1)))} of {vector.num_envs} allows no action at all; its "
            'info["action_mask"] must allow one after every step and after every reset'
        )
    return masks


def _called(vector: VectorEnv[Any]) -> Any:
    if isinstance(vector, SyncVectorEnv):
        if not vector.envs[0].has_wrapper_attr("action_masks"):
            return None
        return np.stack([env.get_wrapper_attr("action_masks")() for env in vector.envs])
    named = getattr(vector.unwrapped, "action_masks", None)
    return None if named is None else named()
