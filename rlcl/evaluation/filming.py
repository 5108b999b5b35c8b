"""One episode of a predictor as a row of frames."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from attrs import frozen
from gymnasium.vector import AutoresetMode

from rlcl.data.environments.action_masks import action_masks
from rlcl.data.environments.workers import Workers
from rlcl.errors import DataError, EnvironmentApiError, UnsupportedError
from rlcl.types import EnvironmentSource, Predictor, masks_actions

__all__ = ["Film", "film"]

Frame = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)


@frozen(eq=False)
class Film:
    """An episode, or its beginning.

    Args:
        frames: (H, W, 3) uint8 each.
        returns: the return up to each frame, undiscounted.
        ended: whether the episode came to its end.
    """

    frames: tuple[Frame, ...]
    returns: tuple[float, ...]
    ended: bool


def film(
    predictor: Predictor,
    source: EnvironmentSource,
    task_id: int | None,
    frames: int,
    every: int = 1,
    seed: int | None = None,
) -> Film | None:
    """Films a predictor that acts greedily; by default the first of the episodes that it is evaluated on.

    The environment is drawn in a process of its own: without a display some libraries end theirs.

    Args:
        predictor: acts.
        source: the recipe of the environment.
        task_id: the task's number, None where hidden.
        frames: at most, at least 1.
        every: env steps from frame to frame.
        seed: of the episode; the source's by default.

    Returns:
        None where the environment cannot be drawn; the reason is logged, once a process.

    Raises:
        UnsupportedError: the process of the environment ended while it was drawn.
    """
    owner = os.getpid()
    try:
        vector = Workers(lambda: _filmed(source, owner), 1, AutoresetMode.SAME_STEP, source.name)
        try:
            (why,) = vector.call("why")
            if why is not None:
                if why:
                    _say(f"environment {source.name} is not filmed, for it cannot be drawn: {why}")
                return None
            return _shot(
                predictor, vector, task_id, range(0, frames * every, every), source.seed if seed is None else seed
            )
        finally:
            vector.close()
    except EnvironmentApiError as error:
        raise UnsupportedError(
            f"environment {source.name} cannot be filmed: {error}; where there is no display, MuJoCo draws with "
            "MUJOCO_GL=egl or osmesa in the environment variables"
        ) from error


def _shot(predictor: Predictor, vector: Workers, task_id: int | None, shown: range, seed: int) -> Film:
    """An episode, filmed at some of its env steps."""
    taken: list[Frame] = []
    returns: list[float] = []
    total, ended, state = 0.0, False, None
    masking = masks_actions(predictor)
    observations, info = vector.reset(seed=seed)
    for step in range(shown.stop):
        if step in shown:
            taken.append(vector.call("frame")[0])
            returns.append(total)
        allowed: Mapping[str, Any] = {"action_masks": action_masks(vector, info)} if masking else {}
        actions, state = predictor.predict(observations, task_id, state, **allowed)
        observations, rewards, terminated, truncated, info = vector.step(np.asarray(actions))
        total += float(rewards[0])
        ended = bool(terminated[0] or truncated[0])
        if ended:
            break
    returns[-1] = total
    return Film(tuple(taken), tuple(returns), ended)


class _Filmed(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that gives frames.

    Args:
        env: the environment.
        why: it gives none, empty where it does not say that it would; None where it gives some.
    """

    def __init__(self, env: gym.Env[Any, Any], why: str | None) -> None:
        super().__init__(env)
        self.why = why

    def frame(self) -> Frame | None:
        """(H, W, 3) uint8 of now."""
        return _frame(self.env)


def _filmed(source: EnvironmentSource, owner: int) -> gym.Env[Any, Any]:
    """The environment as its process makes it, in the way in which it can be drawn; the owner's is never drawn."""
    why = ""
    ways: tuple[dict[str, str], ...] = ({}, {"render_mode": "rgb_array"}) if os.getpid() != owner else ()
    for kwargs in ways:
        try:
            env = source.alone(**kwargs).make(side_by_side=True)
        except (DataError, EnvironmentApiError):  # no render_mode among its settings
            continue
        try:
            env.reset(seed=source.seed)
            if _frame(env) is not None:
                return _Filmed(env, None)
        except Exception as error:  # whatever its own drawing lacks: pygame, a screen, a driver
            why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        env.close()
    return _Filmed(source.alone().make(side_by_side=True), why)


def _frame(env: Any) -> Frame | None:
    from rlcl_envs.drawing import picture

    drawn = picture(env.unwrapped)
    if drawn is None and env.render_mode == "rgb_array":
        drawn = np.asarray(env.render())
    return drawn if drawn is None or (drawn.ndim == 3 and drawn.shape[2] == 3) else None


@cache
def _say(text: str) -> None:
    logger.warning("%s", text)
