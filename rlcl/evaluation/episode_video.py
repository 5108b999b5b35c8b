"""Video of an episode of a predictor."""

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
from rlcl.data.environments.workers import WorkerVectorEnv
from rlcl.errors import DataError, EnvironmentApiError, UnsupportedError
from rlcl.types import EnvironmentSource, Predictor, masks_actions

__all__ = ["EpisodeVideo", "record_episode"]

Frame = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)


@frozen(eq=False)
class EpisodeVideo:
    """Video of an episode, or of its first env steps.

    Args:
        frames: frames, each (H, W, 3) uint8.
        returns: undiscounted return up to each frame; the last one is the return of all env steps.
        ended: whether the episode ended.
    """

    frames: tuple[Frame, ...]
    returns: tuple[float, ...]
    ended: bool


def record_episode(
    predictor: Predictor,
    source: EnvironmentSource,
    task_id: int | None,
    frames: int,
    every: int = 1,
    seed: int | None = None,
) -> EpisodeVideo | None:
    """Record a video of an episode with greedy actions; by default the first episode of an evaluation.

    The environment is rendered in a separate process, because some libraries end the process if there is no display.

    Args:
        predictor: predictor that selects the actions.
        source: environment source.
        task_id: index of the task, None if hidden.
        frames: maximum number of frames, at least 1.
        every: env steps between two frames.
        seed: seed of the episode; that of the source by default.

    Returns:
        The video, or None if the environment cannot be rendered; the reason is logged once per process.

    Raises:
        UnsupportedError: the process of the environment ended while rendering.
    """
    owner = os.getpid()
    try:
        vector = WorkerVectorEnv(lambda: _rendered_environment(source, owner), 1, AutoresetMode.SAME_STEP, source.name)
        try:
            (failure,) = vector.call("failure")
            if failure is not None:
                if failure:
                    _warn_once(f"no video of environment {source.name}, because it cannot be rendered: {failure}")
                return None
            return _record(
                predictor, vector, task_id, range(0, frames * every, every), source.seed if seed is None else seed
            )
        finally:
            vector.close()
    except EnvironmentApiError as error:
        raise UnsupportedError(
            f"environment {source.name} cannot be rendered for a video: {error}; without a display, MuJoCo needs the "
            "environment variable MUJOCO_GL=egl or MUJOCO_GL=osmesa"
        ) from error


def _record(
    predictor: Predictor, vector: WorkerVectorEnv, task_id: int | None, frame_steps: range, seed: int
) -> EpisodeVideo:
    """Record an episode, with a frame at each env step in ``frame_steps``."""
    frames: list[Frame] = []
    returns: list[float] = []
    total, ended, state = 0.0, False, None
    uses_masks = masks_actions(predictor)
    observations, info = vector.reset(seed=seed)
    for step in range(frame_steps.stop):
        if step in frame_steps:
            frames.append(vector.call("frame")[0])
            returns.append(total)
        masks: Mapping[str, Any] = {"action_masks": action_masks(vector, info)} if uses_masks else {}
        actions, state = predictor.predict(observations, task_id, state, **masks)
        observations, rewards, terminated, truncated, info = vector.step(np.asarray(actions))
        total += float(rewards[0])
        ended = bool(terminated[0] or truncated[0])
        if ended:
            break
    returns[-1] = total
    return EpisodeVideo(tuple(frames), tuple(returns), ended)


class _RenderedEnvironment(gym.Wrapper[Any, Any, Any, Any]):
    """Environment wrapper that renders frames.

    Args:
        env: the environment.
        failure: reason why the environment cannot be rendered, empty if it does not support rendering; None if it can
            be rendered.
    """

    def __init__(self, env: gym.Env[Any, Any], failure: str | None) -> None:
        super().__init__(env)
        self.failure = failure

    def frame(self) -> Frame | None:
        """Render the current frame (H, W, 3) uint8."""
        return _frame(self.env)


def _rendered_environment(source: EnvironmentSource, owner: int) -> gym.Env[Any, Any]:
    """Create an environment in a worker process, with rendering if it is supported.

    In the owner process, which only reads the spaces, the environment is never rendered.
    """
    failure = ""
    render_settings: tuple[dict[str, str], ...] = ({}, {"render_mode": "rgb_array"}) if os.getpid() != owner else ()
    for kwargs in render_settings:
        try:
            env = source.alone(**kwargs).make(side_by_side=True)
        except (DataError, EnvironmentApiError):  # no render_mode among its settings
            continue
        try:
            env.reset(seed=source.seed)
            if _frame(env) is not None:
                return _RenderedEnvironment(env, None)
        except Exception as error:  # any error of the environment's rendering, such as a missing pygame or display
            failure = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        env.close()
    return _RenderedEnvironment(source.alone().make(side_by_side=True), failure)


def _frame(env: Any) -> Frame | None:
    """Render the current frame (H, W, 3) uint8, or return None if the environment does not support rendering."""
    from rlcl_envs.rendering import render_image

    frame = render_image(env.unwrapped)
    if frame is None and env.render_mode == "rgb_array":
        frame = np.asarray(env.render())
    return frame if frame is None or (frame.ndim == 3 and frame.shape[2] == 3) else None


@cache
def _warn_once(text: str) -> None:
    """Log a warning, unless the same warning was logged before."""
    logger.warning("%s", text)
