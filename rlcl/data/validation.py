"""Checks of data sets and environments before training, and warnings about them."""

from __future__ import annotations

import logging
import math
from functools import cache
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rlcl.data.environments.action_masks import current_mask, random_action
from rlcl.data.environments.contract import check_observation, unpack_reset, unpack_step
from rlcl.data.overlap import find_copies
from rlcl.errors import DataError, EnvironmentApiError, Problem
from rlcl.types import Rows

if TYPE_CHECKING:
    from rlcl.data.sources import Data

__all__ = ["check_arrays", "check_environment", "check_spaces", "warn_about_data", "warn_about_seed", "warn_once"]

MAX_NAMES = 5  # maximum number of columns in a warning

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
    """Check the arrays of a data set.

    Args:
        name: name of the data set, for the message.
        split: ``train`` or ``test``.
        inputs: (N, *observation); inputs on disk are checked when they are read.
        labels: (N,), or None.
        train_labels: training labels, if ``labels`` are those of the test set.
        regression: whether labels are numbers to predict, (N, K).
        missing: whether NaN in inputs means a missing value.

    Raises:
        DataError: the arrays are invalid; the message names the first fault.
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
            f"{where}: labels must be integers from 0; the label of row {row} is {labels[row].item()}; number them "
            "with numpy.unique(labels, return_inverse=True), and remove rows without a label"
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


def warn_about_data(data: Data, overlap: bool = True) -> None:
    """Warn, once per process, about properties of a data set that may be mistakes.

    These are test rows that are copies of training rows, and features of vectors that are constant in all training
    rows. Images usually have constant pixels at the border, so that they are not checked for constant features. Inputs
    on disk are not checked at all.

    Args:
        data: the data set.
        overlap: whether to look for copies.
    """
    train, test = data.train_inputs, data.test_inputs
    if not isinstance(train, Tensor) or not isinstance(test, Tensor):
        return
    pairs = find_copies(train, test) if overlap else np.empty((0, 2), np.int64)
    if len(pairs):
        copy, original = pairs[0].tolist()
        warn_once(
            f"data {data.name!r}: {len(pairs)} of {len(test)} test rows are copies of training rows; the first is "
            f"{data.location('test', copy)}, a copy of {data.location('train', original)}; data.expect.overlap sets "
            "the allowed share"
        )
    if train.ndim == 2 and len(train) > 1:
        constant = ((train == train[0]) | (train.isnan() & train[0].isnan())).all(0).nonzero().flatten().tolist()
        if constant:
            names = [data.columns[i].name if data.columns else str(i) for i in constant[:MAX_NAMES]]
            more = f" and {len(constant) - MAX_NAMES} more" if len(constant) > MAX_NAMES else ""
            warn_once(
                f"data {data.name!r}: {len(constant)} of {train.shape[1]} features are the same in all training rows: "
                f"{', '.join(names)}{more}; nothing can be learned from them"
            )


@cache
def warn_once(text: str) -> None:
    """Log a warning, once per process."""
    logger.warning("%s", text)


def warn_about_seed(name: str) -> None:
    """Warn, once per process, that an environment is not reproducible with a seed."""
    warn_once(
        f"environment {name}: two resets with the same seed give different episodes, so that no run is reproducible; "
        "call super().reset(seed=seed) in reset, and use only self.np_random for random numbers"
    )


def check_environment(env: gym.Env[Any, Any], name: str, steps: int = 20) -> None:
    """Check in a few random steps that an environment implements the Gymnasium API.

    Args:
        env: one environment, not vectorized, with the user's wrappers.
        name: its name in the config, for the message.
        steps: number of env steps, with allowed actions.

    Raises:
        EnvironmentApiError: it breaks the Gymnasium API.
    """
    check_spaces(env, name)
    env.action_space.seed(0)
    try:
        mask = _reset_and_check(env, name)
        for _ in range(steps):
            action = random_action(env.action_space, mask)
            result = _call(name, "step", lambda action=action: env.step(action))
            observation, reward, terminated, truncated, info = unpack_step(result)
            _check_observation(env, "step", observation)
            if not math.isfinite(reward):
                raise Problem(f"the reward is {reward}; it must be finite")
            mask = _reset_and_check(env, name) if terminated or truncated else _checked_mask(env, info)
    except Problem as error:
        raise EnvironmentApiError(f"environment {name}: {error}") from error


def check_spaces(env: gym.Env[Any, Any], name: str) -> None:
    """Check that an environment has spaces.

    Raises:
        EnvironmentApiError: a space is missing.
    """
    for label in ("observation_space", "action_space"):
        if not isinstance(getattr(env, label, None), gym.Space):
            raise EnvironmentApiError(f"environment {name}: {label} is not a gymnasium.Space; set it in __init__")


def _reset_and_check(env: gym.Env[Any, Any], name: str) -> Any:
    """Reset an environment, check the result, and return the action mask of the first state."""
    observation, info = unpack_reset(_call(name, "reset", lambda: env.reset(seed=0)))
    _check_observation(env, "reset", observation)
    return _checked_mask(env, info)


def _checked_mask(env: gym.Env[Any, Any], info: Any) -> Any:
    mask = current_mask(env, info, env.has_wrapper_attr("action_masks"))
    if mask is not None and not mask.any():
        raise Problem('info["action_mask"] allows no action; it must allow at least one after every step and reset')
    return mask


def _check_observation(env: gym.Env[Any, Any], method: str, observation: Any) -> None:
    try:
        check_observation(env.observation_space, observation)
    except Problem as error:
        raise Problem(f"{method} returned {error}") from error


def _call(name: str, method: str, call: Any) -> Any:
    try:
        return call()
    except gym.error.Error as error:
        raise EnvironmentApiError(f"environment {name}: {method}: {error}") from error
    except TypeError as error:
        if method == "reset" and "seed" in str(error):
            raise EnvironmentApiError(
                f"environment {name}: reset must accept seed=None and options=None as keyword arguments and call "
                "super().reset(seed=seed)"
            ) from error
        raise EnvironmentApiError(f"environment {name}: {method} raised TypeError: {error}") from error
    except Exception as error:
        raise EnvironmentApiError(f"environment {name}: {method} raised {type(error).__name__}: {error}") from error
