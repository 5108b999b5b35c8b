"""What is wrong with data or with an environment, said before training."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rlcl.data.storage import Rows
from rlcl.errors import DataError, EnvironmentApiError

__all__ = ["check_arrays", "check_environment"]


def check_arrays(
    name: str,
    split: str,
    inputs: Tensor | Rows,
    labels: Tensor | None,
    train_labels: Tensor | None = None,
    regression: bool = False,
) -> None:
    """Raises DataError for the first thing that is wrong with a data set's arrays.

    Args:
        name: of the data set, for the message.
        split: ``train`` or ``test``.
        inputs: (N, *observation); those on disk are checked when they are read.
        labels: (N,), or None.
        train_labels: the training labels, where ``labels`` are the test set's.
        regression: whether labels are numbers to predict, (N, K).
    """
    where = f"data {name!r}, {split} set"
    if len(inputs.shape) < 2 or len(inputs) == 0:
        raise DataError(f"{where}: expected inputs of shape (N, *observation) with N >= 1, got {tuple(inputs.shape)}")
    if isinstance(inputs, Tensor) and inputs.is_floating_point() and not torch.isfinite(inputs).all():
        bad = (~torch.isfinite(inputs)).flatten(1).any(1).nonzero().flatten()
        raise DataError(
            f"{where}: {len(bad)} of {len(inputs)} inputs hold NaN or infinite values, the first at row {int(bad[0])}; "
            "remove or impute them"
        )
    if labels is None:
        return
    if regression:
        _check_targets(where, inputs, labels)
        return
    if labels.ndim != 1 or len(labels) != len(inputs):
        raise DataError(f"{where}: expected {len(inputs)} labels of shape (N,), got shape {tuple(labels.shape)}")
    if labels.is_floating_point() or int(labels.min()) < 0:
        raise DataError(f"{where}: labels must be whole numbers from 0; the least is {labels.min().item()}")
    if train_labels is not None:
        unseen = sorted(set(labels.tolist()) - set(train_labels.tolist()))
        if unseen:
            raise DataError(f"{where}: classes {unseen} are not in the training set; remove them or add training data")


def _check_targets(where: str, inputs: Tensor | Rows, targets: Tensor) -> None:
    if len(targets) != len(inputs):
        raise DataError(f"{where}: expected {len(inputs)} targets of shape (N, K), got shape {tuple(targets.shape)}")
    if not torch.isfinite(targets).all():
        row = int((~torch.isfinite(targets)).any(1).nonzero()[0])
        raise DataError(f"{where}: the target of row {row} is not finite; remove or impute it")


def check_environment(env: gym.Env[Any, Any], name: str, steps: int = 20) -> None:
    """Plays a few random steps and raises EnvironmentApiError for what breaks the Gymnasium API.

    Args:
        env: one environment, not vectorised.
        name: as the config names it, for the message.
        steps: env steps to play.
    """
    for label in ("observation_space", "action_space"):
        if not isinstance(getattr(env, label, None), gym.Space):
            raise EnvironmentApiError(f"environment {name}: {label} is not a gymnasium.Space; set it in __init__")
    env.action_space.seed(0)
    _check_observation(env, name, "reset", _reset(env, name))
    for _ in range(steps):
        result = _call(name, "step", lambda: env.step(env.action_space.sample()))
        if not isinstance(result, tuple) or len(result) != 5:
            raise EnvironmentApiError(
                f"environment {name}: step must return (observation, reward, terminated, truncated, info), "
                f"got {_describe(result)}"
            )
        observation, reward, terminated, truncated, info = result
        _check_observation(env, name, "step", observation)
        if np.asarray(reward).ndim != 0 or np.asarray(reward).dtype.kind not in "fiub":
            raise EnvironmentApiError(f"environment {name}: the reward must be one number, got {_describe(reward)}")
        if not np.isfinite(float(reward)):
            raise EnvironmentApiError(f"environment {name}: the reward is {reward}; it must be finite")
        for label, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, bool | np.bool_):
                raise EnvironmentApiError(f"environment {name}: {label} must be a bool, got {_describe(flag)}")
        if not isinstance(info, dict):
            raise EnvironmentApiError(f"environment {name}: info must be a dict, got {_describe(info)}")
        if terminated or truncated:
            _check_observation(env, name, "reset", _reset(env, name))


def _reset(env: gym.Env[Any, Any], name: str) -> Any:
    result = _call(name, "reset", lambda: env.reset(seed=0))
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise EnvironmentApiError(
            f"environment {name}: reset must return (observation, info) with info a dict, got {_describe(result)}"
        )
    return result[0]


def _call(name: str, method: str, call: Any) -> Any:
    try:
        return call()
    except gym.error.Error as error:
        raise EnvironmentApiError(f"environment {name}: {method}: {error}") from error
    except TypeError as error:
        if method == "reset" and "seed" in str(error):
            raise EnvironmentApiError(
                f"environment {name}: reset must take seed=None and options=None by keyword and call "
                "super().reset(seed=seed)"
            ) from error
        raise EnvironmentApiError(f"environment {name}: {method} raised TypeError: {error}") from error
    except Exception as error:
        raise EnvironmentApiError(f"environment {name}: {method} raised {type(error).__name__}: {error}") from error


def _check_observation(env: gym.Env[Any, Any], name: str, method: str, observation: Any) -> None:
    space = env.observation_space
    if space.contains(observation):
        return
    message = f"environment {name}: {method} gave an observation outside its observation_space {space}: "
    if not isinstance(space, gym.spaces.Box):
        raise EnvironmentApiError(f"{message}got {_describe(observation)}")
    array = np.asarray(observation)
    if array.shape != space.shape:
        raise EnvironmentApiError(f"{message}its shape is {array.shape}, expected {space.shape}")
    if not isinstance(observation, np.ndarray) or not np.can_cast(array.dtype, space.dtype):
        raise EnvironmentApiError(
            f"{message}it is {_describe(observation)}, expected a NumPy array of {space.dtype}; "
            f"return np.asarray(observation, dtype=np.{space.dtype})"
        )
    outside = ~((array >= space.low) & (array <= space.high))
    place = tuple(int(i) for i in np.argwhere(outside)[0])
    raise EnvironmentApiError(
        f"{message}element {list(place)} is {array[place]}, allowed is "
        f"[{space.low[place]}, {space.high[place]}]; widen the space or clip the observation"
    )


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)} ({', '.join(type(v).__name__ for v in value)})"
    return f"{type(value).__name__} {value!r}"
