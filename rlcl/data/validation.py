"""What is wrong with data or with an environment, said before training."""

from __future__ import annotations

import logging
import math
from functools import cache
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rlcl.data.environments.action_masks import random_action, told_mask
from rlcl.data.environments.contract import after_reset, after_step, fitted
from rlcl.data.overlap import copies
from rlcl.errors import DataError, EnvironmentApiError, Problem
from rlcl.types import Rows

if TYPE_CHECKING:
    from rlcl.data.sources import Data

__all__ = ["check_arrays", "check_environment", "check_spaces", "tell", "warn_of", "warn_of_seed"]

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


def warn_of_seed(name: str) -> None:
    """Says, once a process, that an environment does not repeat itself under a seed."""
    tell(
        f"environment {name}: two resets with the same seed give different episodes, so that no run can be repeated; "
        "call super().reset(seed=seed) in reset, and draw from self.np_random alone"
    )


def check_environment(env: gym.Env[Any, Any], name: str, steps: int = 20) -> None:
    """Plays a few random steps and raises EnvironmentApiError for what breaks the Gymnasium API.

    Args:
        env: one environment, not vectorised, under the wrappers that its user gave it.
        name: as the config names it, for the message.
        steps: env steps to play, of actions that are allowed.
    """
    check_spaces(env, name)
    env.action_space.seed(0)
    try:
        mask = _after_reset(env, name)
        for _ in range(steps):
            action = random_action(env.action_space, mask)
            result = _call(name, "step", lambda action=action: env.step(action))
            observation, reward, terminated, truncated, info = after_step(result)
            _fitted(env, "step", observation)
            if not math.isfinite(reward):
                raise Problem(f"the reward is {reward}; it must be finite")
            mask = _after_reset(env, name) if terminated or truncated else _mask(env, info)
    except Problem as error:
        raise EnvironmentApiError(f"environment {name}: {error}") from error


def check_spaces(env: gym.Env[Any, Any], name: str) -> None:
    """Raises EnvironmentApiError where an environment has no spaces."""
    for label in ("observation_space", "action_space"):
        if not isinstance(getattr(env, label, None), gym.Space):
            raise EnvironmentApiError(f"environment {name}: {label} is not a gymnasium.Space; set it in __init__")


def _after_reset(env: gym.Env[Any, Any], name: str) -> Any:
    """The mask of the first state."""
    observation, info = after_reset(_call(name, "reset", lambda: env.reset(seed=0)))
    _fitted(env, "reset", observation)
    return _mask(env, info)


def _mask(env: gym.Env[Any, Any], info: Any) -> Any:
    mask = told_mask(env, info, env.has_wrapper_attr("action_masks"))
    if mask is not None and not mask.any():
        raise Problem('info["action_mask"] allows no action at all; it must allow one after every step and reset')
    return mask


def _fitted(env: gym.Env[Any, Any], method: str, observation: Any) -> None:
    try:
        fitted(env.observation_space, observation)
    except Problem as error:
        raise Problem(f"{method} gave {error}") from error


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
