"""Environments of installed packages that nobody has imported yet."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points

import gymnasium as gym
from gymnasium.envs.registration import parse_env_id

__all__ = ["register_plugins"]

logger = logging.getLogger(__name__)

GROUP = "gymnasium.envs"
ROOT = "__root__"  # of ids without a namespace


def register_plugins(env: str) -> None:
    """Register what installed packages declare of an id that is not known: Gymnasium did so itself before 1.0.

    Packages that declare entry points in the group ``gymnasium.envs`` (MiniGrid, MinAtar) need no import by the user.

    Args:
        env: a Gymnasium id; nothing happens where it is known, or names its module.

    Raises:
        gymnasium.error.Error: it is no id.
    """
    if env in gym.registry or ":" in env:
        return
    namespace, _, _ = parse_env_id(env)
    for found in entry_points(group=GROUP):
        if found.name == (namespace or ROOT):
            try:
                found.load()()
            except Exception as error:  # of a package that may have nothing to do with this id
                reason = f"{type(error).__name__}: {error}"
                logger.warning("the environments that %s declares cannot be registered: %s", found.value, reason)
