"""Registration of environments that installed packages declare as entry points."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points

import gymnasium as gym
from gymnasium.envs.registration import parse_env_id

__all__ = ["register_plugins"]

logger = logging.getLogger(__name__)

GROUP = "gymnasium.envs"
ROOT = "__root__"  # name of the entry point for ids without a namespace


def register_plugins(env: str) -> None:
    """Register the environments of the installed packages that declare the namespace of an unknown id.

    Packages declare entry points in the group ``gymnasium.envs`` (MiniGrid, MinAtar), so that users need not import
    them. Gymnasium itself registered them before version 1.0.

    Args:
        env: Gymnasium id; nothing is done if it is already registered or has the form ``module:Id``.

    Raises:
        gymnasium.error.Error: the id is malformed.
    """
    if env in gym.registry or ":" in env:
        return
    namespace, _, _ = parse_env_id(env)
    for entry_point in entry_points(group=GROUP):
        if entry_point.name == (namespace or ROOT):
            try:
                entry_point.load()()
            except Exception as error:  # the package may not be the one that declares this id
                reason = f"{type(error).__name__}: {error}"
                logger.warning("the environments of entry point %s cannot be registered: %s", entry_point.value, reason)
