"""Environments of installed packages that nobody has imported yet."""

from __future__ import annotations

from importlib.metadata import entry_points

import gymnasium as gym
from gymnasium.envs.registration import parse_env_id

__all__ = ["register_plugins"]

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
            found.load()()
