"""Which observations can be made one vector, and what helps where they cannot."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

__all__ = ["can_be_flat", "remedy_for"]

FLAT = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary, gym.spaces.OneOf)
KNOWN = (*FLAT, gym.spaces.Dict, gym.spaces.Tuple, gym.spaces.Text, gym.spaces.Graph, gym.spaces.Sequence)


def can_be_flat(space: gym.Space[Any]) -> bool:
    """Whether every part of observations has a vector of one length."""
    return not _without_vector(space)


def remedy_for(space: gym.Space[Any]) -> str:
    """What to do about observations that are no array (Box): the encoder, or the wrapper, that helps.

    Args:
        space: of an environment's observations.
    """
    parts = _without_vector(space)
    if not parts:
        return "set encoder: flatten, before any other encoder"
    place, part = parts[0]
    kind = next((each.__name__ for each in KNOWN if isinstance(part, each)), type(part).__name__)
    if not place:
        return (
            f"{kind} has no vector of one length; wrap the environment in one that makes a Box of it "
            "(gymnasium.wrappers.TransformObservation), in a function of your own, and set env: file.py:function"
        )
    rest: list[str] = []
    if isinstance(space, gym.spaces.Dict):
        rest = [key for key, each in space.spaces.items() if not _without_vector(each)]
    keep = f"gymnasium.wrappers.FilterObservation(env, {rest})" if rest else "gymnasium.wrappers.TransformObservation"
    return (
        f"its part {place} is {kind}, which has no vector of one length; leave it out by {keep}, in a function of your "
        "own, and set env: file.py:function and encoder: flatten"
    )


def _without_vector(space: gym.Space[Any], place: str = "") -> list[tuple[str, gym.Space[Any]]]:
    """Parts that cannot be flattened, by where they stand."""
    if isinstance(space, gym.spaces.Dict):
        return [found for key, part in space.spaces.items() for found in _without_vector(part, f"{place}[{key!r}]")]
    if isinstance(space, gym.spaces.Tuple | gym.spaces.OneOf):
        return [found for i, part in enumerate(space.spaces) for found in _without_vector(part, f"{place}[{i}]")]
    return [] if isinstance(space, FLAT) else [(place, space)]
