"""What is wrong with data or with an environment, said before training."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rlcl.data.overlap import copies
from rlcl.errors import DataError, EnvironmentApiError
from rlcl.types import Rows

if TYPE_CHECKING:
    from rlcl.data.sources import Data

__all__ = ["check_arrays", "check_environment", "tell", "warn_of"]

NAMED = 5  # columns that a warning names

logger = logging.getLogger(__name__)


def check_arrays(
    name: str,
    split: str,
    inputs: Tensor | Rows,
    labels: Tensor | None,
    train_labels: Tensor | None = None,
    regression: bool = False,
    missing: bool = False,
) -> None:
    """Raises DataError for the first thing that is wrong with a data set's arrays.

    Args:
        name: of the data set, for the message.
        split: ``train`` or ``test``.
        inputs: (N, *observation); those on disk are checked when they are read.
        labels: (N,), or None.
        train_labels: the training labels, where ``labels`` are the test set's.
        regression: whether labels are numbers to predict, (N, K).
        missing: whether NaN in inputs stands for a value that is not known.
    """
    where = f"data {name!r}, {split} set"
    if len(inputs.shape) < 2 or len(inputs) == 0:
        raise DataError(f"{where}: expected inputs of shape (N, *observation) with N >= 1, got {tuple(inputs.shape)}")
    if isinstance(inputs, Tensor) and inputs.is_floating_point():
        _check_finite(where, inputs, missing)
    if labels is None:
        return
    if regression:
        _check_targets(where, inputs, labels)
        return
    if labels.ndim != 1 or len(labels) != len(inputs):
        raise DataError(f"{where}: expected {len(inputs)} labels of shape (N,), got shape {tuple(labels.shape)}")
    if labels.is_floating_point() or int(labels.min()) < 0:
        wrong = (labels < 0) | ((labels != labels.round()) if labels.is_floating_point() else False)
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"{where}: labels must be whole numbers from 0; that of row {row} is {labels[row].item()}; number them by "
            "numpy.unique(labels, return_inverse=True), and remove rows without one"
        )
    if train_labels is not None:
        unseen = sorted(set(labels.tolist()) - set(train_labels.tolist()))
        if unseen:
            raise DataError(f"{where}: classes {unseen} are not in the training set; remove them or add training data")


def _check_finite(where: str, inputs: Tensor, missing: bool) -> None:
    bad = torch.isinf(inputs) if missing else ~torch.isfinite(inputs)
    if bool(bad.any()):
        rows = bad.flatten(1).any(1).nonzero().flatten()
        what = "infinite values" if missing else "NaN or infinite values"
        raise DataError(
            f"{where}: {len(rows)} of {len(inputs)} inputs hold {what}, the first at row {int(rows[0])}; remove or "
            "impute them"
        )


def _check_targets(where: str, inputs: Tensor | Rows, targets: Tensor) -> None:
    if len(targets) != len(inputs):
        raise DataError(f"{where}: expected {len(inputs)} targets of shape (N, K), got shape {tuple(targets.shape)}")
    if not torch.isfinite(targets).all():
        row = int((~torch.isfinite(targets)).any(1).nonzero()[0])
        raise DataError(f"{where}: the target of row {row} is not finite; remove or impute it")


def warn_of(data: Data, overlap: bool = True) -> None:
    """Says, once a process, what is suspicious in a data set and yet may be meant.

    Test rows that are copies of training rows, and features of vectors that are the same in all training
    rows (of images some always are: the border). Inputs that stay on disk are not looked at.

    Args:
        data: that was loaded.
        overlap: whether copies are looked for.
    """
    train, test = data.train_inputs, data.test_inputs
    if not isinstance(train, Tensor) or not isinstance(test, Tensor):
        return
    pairs = copies(train, test) if overlap else np.empty((0, 2), np.int64)
    if len(pairs):
        copy, original = pairs[0].tolist()
        tell(
            f"data {data.name!r}: {len(pairs)} of {len(test)} test rows are copies of training rows; the first is "
            f"{data.place('test', copy)}, a copy of {data.place('train', original)}; data.expect.overlap says which "
            "share is allowed"
        )
    if train.ndim == 2 and len(train) > 1:
        constant = ((train == train[0]) | (train.isnan() & train[0].isnan())).all(0).nonzero().flatten().tolist()
        if constant:
            names = [data.columns[i].name if data.columns else str(i) for i in constant[:NAMED]]
            more = f" and {len(constant) - NAMED} more" if len(constant) > NAMED else ""
            tell(
                f"data {data.name!r}: {len(constant)} of {train.shape[1]} features are the same in all training rows: "
                f"{', '.join(names)}{more}; nothing can be learned from them"
            )


@cache
def tell(text: str) -> None:
    """Warns of something, once a process."""
    logger.warning("%s", text)


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
