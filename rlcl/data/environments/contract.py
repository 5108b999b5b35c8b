"""The Gymnasium API of environments: checks of the results of reset and step, and copies of observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rlcl.errors import Problem

__all__ = ["check_observation", "copy_observation", "describe_value", "shorten", "unpack_reset", "unpack_step"]

Array = np.ndarray[Any, Any]
ARRAYS = (gym.spaces.Box, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)
MAX_LENGTH = 120  # maximum number of characters of a value or space in a message


def unpack_reset(result: Any) -> tuple[Any, dict[str, Any]]:
    """Return the observation and info of a reset.

    Args:
        result: return value of ``reset``.

    Raises:
        Problem: it is not an observation and a dict.
    """
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise Problem(f"reset must return (observation, info) with info a dict, got {describe_value(result)}")
    observation, info = result
    return observation, info


def unpack_step(result: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """Return the observation, reward, terminated, truncated and info of a step, with the reward as a float.

    Args:
        result: return value of ``step``.

    Raises:
        Problem: an element is missing or has a wrong type.
    """
    if not isinstance(result, tuple) or len(result) != 5:
        raise Problem(
            f"step must return (observation, reward, terminated, truncated, info), got {describe_value(result)}"
        )
    observation, reward, terminated, truncated, info = result
    if type(reward) is not float:
        array = np.asarray(reward)
        if array.ndim != 0 or array.dtype.kind not in "fiub":
            raise Problem(f"the reward must be one number, got {describe_value(reward)}")
        reward = float(reward)
    if type(terminated) is not bool:
        terminated = _flag("terminated", terminated)
    if type(truncated) is not bool:
        truncated = _flag("truncated", truncated)
    if not isinstance(info, dict):
        raise Problem(f"info must be a dict, got {describe_value(info)}")
    return observation, reward, terminated, truncated, info


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, np.bool_):
        raise Problem(f"{name} must be a bool, got {describe_value(value)}")
    return bool(value)


def copy_observation(space: gym.Space[Any], observation: Any, path: str = "") -> Any:
    """Return a copy of an observation, because an environment may write the next one into the same array.

    Args:
        space: space of the observation. Shapes and keys are checked, bounds are not.
        observation: the observation of the environment.
        path: path of a part in the observation, for messages.

    Raises:
        Problem: it has a wrong shape or type, or a part is missing.
    """
    if isinstance(space, ARRAYS):
        array = np.array(observation)
        if array.shape != space.shape:
            raise Problem(f"an observation of a wrong shape{path}: its shape is {array.shape}, expected {space.shape}")
        if array.dtype is not space.dtype and not np.can_cast(array.dtype, space.dtype, "same_kind"):
            raise Problem(f"an observation of a wrong type{path}: its dtype is {array.dtype}, expected {space.dtype}")
        return array
    if isinstance(space, gym.spaces.Dict):
        _check_keys(space, observation, path)
        return {
            key: copy_observation(part, observation[key], _subpath(path, key)) for key, part in space.spaces.items()
        }
    if isinstance(space, gym.spaces.Tuple):
        _check_length(space, observation, path)
        parts = enumerate(zip(space.spaces, observation, strict=True))
        return tuple(copy_observation(part, value, _subpath(path, index)) for index, (part, value) in parts)
    if isinstance(space, gym.spaces.Discrete) and not space.contains(observation):
        raise Problem(f"an observation outside its space{path}: got {describe_value(observation)}, expected {space}")
    return observation.copy() if isinstance(observation, np.ndarray) else observation


def check_observation(space: gym.Space[Any], observation: Any, path: str = "") -> None:
    """Check that an observation is in its space.

    Args:
        space: space of the observation.
        observation: the observation of the environment.
        path: path of a part in the observation, for messages.

    Raises:
        Problem: it is not in the space; the message names the part and the element.
    """
    if space.contains(observation):
        return
    if isinstance(space, gym.spaces.Dict):
        _check_keys(space, observation, path)
        for key, part in space.spaces.items():
            check_observation(part, observation[key], _subpath(path, key))
        raise Problem(f"{_outside(space, path)}got {describe_value(observation)}")
    if isinstance(space, gym.spaces.Tuple):
        _check_length(space, observation, path)
        for index, (part, value) in enumerate(zip(space.spaces, observation, strict=True)):
            check_observation(part, value, _subpath(path, index))
        raise Problem(f"{_outside(space, path)}got {describe_value(observation)}")
    if not isinstance(space, gym.spaces.Box):
        raise Problem(f"{_outside(space, path)}got {describe_value(observation)}")
    _check_box(space, observation, _outside(space, path))


def _check_box(space: gym.spaces.Box, observation: Any, message: str) -> None:
    array = np.asarray(observation)
    if array.shape != space.shape:
        raise Problem(f"{message}its shape is {array.shape}, expected {space.shape}")
    if not isinstance(observation, np.ndarray) or not np.can_cast(array.dtype, space.dtype):
        raise Problem(
            f"{message}it is {describe_value(observation)}, expected a NumPy array of {space.dtype}; "
            f"return np.asarray(observation, dtype=np.{space.dtype})"
        )
    outside = ~((array >= space.low) & (array <= space.high))
    index = tuple(int(i) for i in np.argwhere(outside)[0])
    raise Problem(
        f"{message}element {list(index)} is {array[index]}, expected a value in "
        f"[{space.low[index]}, {space.high[index]}]; widen the space or clip the observation"
    )


def _outside(space: gym.Space[Any], path: str) -> str:
    return f"an observation outside its observation_space {shorten(space)}{path}: "


def _check_keys(space: gym.spaces.Dict, observation: Any, path: str) -> None:
    if not isinstance(observation, Mapping):
        raise Problem(f"an observation that is no dict{path}: got {describe_value(observation)}")
    missing = [key for key in space.spaces if key not in observation]
    if missing:
        keys = ", ".join(map(repr, observation))
        raise Problem(f"an observation without the part {missing[0]!r} of its space{path}; it has {keys or 'none'}")


def _check_length(space: gym.spaces.Tuple[Any], observation: Any, path: str) -> None:
    if not isinstance(observation, tuple | list) or len(observation) != len(space.spaces):
        raise Problem(
            f"an observation with other parts{path}: expected a tuple of {len(space.spaces)}, got "
            f"{describe_value(observation)}"
        )


def _subpath(path: str, key: Any) -> str:
    return f"{path}[{key!r}]" if path else f" in its part [{key!r}]"


def describe_value(value: Any) -> str:
    """Return a short description of a value, for a message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)} ({shorten(', '.join(type(v).__name__ for v in value))})"
    if isinstance(value, Mapping):
        return f"a dict of {shorten(', '.join(map(repr, value)) or 'nothing')}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {shorten(repr(value))}"


def shorten(value: Any) -> str:
    """Return a value as one line of text, truncated after 120 characters."""
    text = str(value)
    text = " ".join(text.split())
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."
