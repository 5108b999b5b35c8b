"""Check that observations can be flattened to vectors, and remedies if they cannot."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

__all__ = ["flattening_remedy", "is_flattenable"]

FLATTENABLE = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary, gym.spaces.OneOf)
KNOWN = (*FLATTENABLE, gym.spaces.Dict, gym.spaces.Tuple, gym.spaces.Text, gym.spaces.Graph, gym.spaces.Sequence)


def is_flattenable(space: gym.Space[Any]) -> bool:
    """Return whether every part of an observation can be flattened to a vector of fixed length."""
    return not _unflattenable_parts(space)


def flattening_remedy(space: gym.Space[Any]) -> str:
    """Return the remedy for observations that are not an array (Box): an encoder or a wrapper.

    Args:
        space: observation space of an environment.
    """
    parts = _unflattenable_parts(space)
    if not parts:
        return "set encoder: flatten, before any other encoder"
    path, part = parts[0]
    kind = next((cls.__name__ for cls in KNOWN if isinstance(part, cls)), type(part).__name__)
    if not path:
        return (
            f"{kind} has no vector of fixed length; write a function that wraps the environment so that its "
            "observations are a Box (gymnasium.wrappers.TransformObservation), and set env: file.py:function"
        )
    rest: list[str] = []
    if isinstance(space, gym.spaces.Dict):
        rest = [key for key, part in space.spaces.items() if not _unflattenable_parts(part)]
    wrapper = f"FilterObservation(env, {rest})" if rest else "TransformObservation"
    return (
        f"its part {path} is {kind}, which has no vector of fixed length; write a function that removes the part with "
        f"gymnasium.wrappers.{wrapper}, and set env: file.py:function and encoder: flatten"
    )


def _unflattenable_parts(space: gym.Space[Any], path: str = "") -> list[tuple[str, gym.Space[Any]]]:
    """Return the paths and spaces of the parts that cannot be flattened."""
    parts: list[tuple[str, gym.Space[Any]]] = []
    if isinstance(space, gym.spaces.Dict):
        parts = [(f"{path}[{key!r}]", part) for key, part in space.spaces.items()]
    elif isinstance(space, gym.spaces.Tuple | gym.spaces.OneOf):
        parts = [(f"{path}[{index}]", part) for index, part in enumerate(space.spaces)]
    else:
        return [] if isinstance(space, FLATTENABLE) else [(path, space)]
    return [entry for subpath, part in parts for entry in _unflattenable_parts(part, subpath)]
