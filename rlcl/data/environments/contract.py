"""What an environment may give: results of reset and step, observations in their space, as arrays of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rlcl.errors import Problem

__all__ = ["after_reset", "after_step", "described", "fitted", "ours", "shortened"]

Array = np.ndarray[Any, Any]
ARRAYS = (gym.spaces.Box, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)
LONGEST = 120  # characters of a value or of a space in a message


def after_reset(result: Any) -> tuple[Any, dict[str, Any]]:
    """What reset gave.

    Raises:
        Problem: no observation and info.
    """
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise Problem(f"reset must return (observation, info) with info a dict, got {described(result)}")
    observation, info = result
    return observation, info


def after_step(result: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """What step gave; of the reward the number alone.

    Raises:
        Problem: a part is missing or of another type.
    """
    if not isinstance(result, tuple) or len(result) != 5:
        raise Problem(f"step must return (observation, reward, terminated, truncated, info), got {described(result)}")
    observation, reward, terminated, truncated, info = result
    if type(reward) is not float:
        array = np.asarray(reward)
        if array.ndim != 0 or array.dtype.kind not in "fiub":
            raise Problem(f"the reward must be one number, got {described(reward)}")
        reward = float(reward)
    if type(terminated) is not bool:
        terminated = _flag("terminated", terminated)
    if type(truncated) is not bool:
        truncated = _flag("truncated", truncated)
    if not isinstance(info, dict):
        raise Problem(f"info must be a dict, got {described(info)}")
    return observation, reward, terminated, truncated, info


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, np.bool_):
        raise Problem(f"{name} must be a bool, got {described(value)}")
    return bool(value)


def ours(space: gym.Space[Any], observation: Any, place: str = "") -> Any:
    """An observation in memory of its own, for an environment may write the next one into the same array.

    Args:
        space: of the observation; its shapes and keys are asked for, not its bounds.
        observation: as the environment gave it.
        place: of a part, for messages.

    Raises:
        Problem: it is of another shape, or lacks a part.
    """
    if isinstance(space, ARRAYS):
        array = np.array(observation)
        if array.shape != space.shape:
            raise Problem(f"an observation of another shape{place}: its shape is {array.shape}, expected {space.shape}")
        if array.dtype is not space.dtype and not np.can_cast(array.dtype, space.dtype, "same_kind"):
            raise Problem(f"an observation of another type{place}: its dtype is {array.dtype}, expected {space.dtype}")
        return array
    if isinstance(space, gym.spaces.Dict):
        _check_keys(space, observation, place)
        return {key: ours(part, observation[key], _within(place, key)) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        _check_length(space, observation, place)
        parts = enumerate(zip(space.spaces, observation, strict=True))
        return tuple(ours(part, value, _within(place, index)) for index, (part, value) in parts)
    if isinstance(space, gym.spaces.Discrete) and not space.contains(observation):
        raise Problem(f"an observation outside its space{place}: got {described(observation)}, expected {space}")
    return observation.copy() if isinstance(observation, np.ndarray) else observation


def fitted(space: gym.Space[Any], observation: Any, place: str = "") -> None:
    """Raises Problem, which names part and element, where an observation is not in its space."""
    if space.contains(observation):
        return
    if isinstance(space, gym.spaces.Dict):
        _check_keys(space, observation, place)
        for key, part in space.spaces.items():
            fitted(part, observation[key], _within(place, key))
        raise Problem(f"{_outside(space, place)}got {described(observation)}")
    if isinstance(space, gym.spaces.Tuple):
        _check_length(space, observation, place)
        for index, (part, value) in enumerate(zip(space.spaces, observation, strict=True)):
            fitted(part, value, _within(place, index))
        raise Problem(f"{_outside(space, place)}got {described(observation)}")
    if not isinstance(space, gym.spaces.Box):
        raise Problem(f"{_outside(space, place)}got {described(observation)}")
    _fitted_box(space, observation, _outside(space, place))


def _fitted_box(space: gym.spaces.Box, observation: Any, message: str) -> None:
    array = np.asarray(observation)
    if array.shape != space.shape:
        raise Problem(f"{message}its shape is {array.shape}, expected {space.shape}")
    if not isinstance(observation, np.ndarray) or not np.can_cast(array.dtype, space.dtype):
        raise Problem(
            f"{message}it is {described(observation)}, expected a NumPy array of {space.dtype}; "
            f"return np.asarray(observation, dtype=np.{space.dtype})"
        )
    outside = ~((array >= space.low) & (array <= space.high))
    place = tuple(int(i) for i in np.argwhere(outside)[0])
    raise Problem(
        f"{message}element {list(place)} is {array[place]}, allowed is "
        f"[{space.low[place]}, {space.high[place]}]; widen the space or clip the observation"
    )


def _outside(space: gym.Space[Any], place: str) -> str:
    return f"an observation outside its observation_space {shortened(space)}{place}: "


def _check_keys(space: gym.spaces.Dict, observation: Any, place: str) -> None:
    if not isinstance(observation, Mapping):
        raise Problem(f"an observation that is no dict{place}: got {described(observation)}")
    missing = [key for key in space.spaces if key not in observation]
    if missing:
        keys = ", ".join(map(repr, observation))
        raise Problem(f"an observation without the part {missing[0]!r} of its space{place}; it has {keys or 'none'}")


def _check_length(space: gym.spaces.Tuple[Any], observation: Any, place: str) -> None:
    if not isinstance(observation, tuple | list) or len(observation) != len(space.spaces):
        raise Problem(
            f"an observation of other parts{place}: expected a tuple of {len(space.spaces)}, got "
            f"{described(observation)}"
        )


def _within(place: str, key: Any) -> str:
    return f"{place}[{key!r}]" if place else f" in its part [{key!r}]"


def described(value: Any) -> str:
    """A value in a few words, for a message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)} ({shortened(', '.join(type(v).__name__ for v in value))})"
    if isinstance(value, Mapping):
        return f"a dict of {shortened(', '.join(map(repr, value)) or 'nothing')}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {shortened(repr(value))}"


def shortened(value: Any) -> str:
    """A value in one line of at most 120 characters."""
    text = str(value)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
