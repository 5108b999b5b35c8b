"""One episode of a predictor as a row of frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.data.environments.action_masks import action_masks
from rlcl.errors import DataError, EnvironmentApiError
from rlcl.types import EnvironmentSource, Predictor, masks_actions

__all__ = ["Film", "film"]

Frame = np.ndarray[Any, Any]


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

    Args:
        predictor: acts.
        source: the recipe of the environment.
        task_id: the task's number, None where hidden.
        frames: at most, at least 1.
        every: env steps from frame to frame.
        seed: of the episode; the source's by default.

    Returns:
        None where the environment cannot be drawn.
    """
    recipe = _drawable(source)
    if recipe is None:
        return None
    vector = recipe.make_vector(1)
    taken: list[Frame] = []
    returns: list[float] = []
    total, ended, state = 0.0, False, None
    masking = masks_actions(predictor)
    try:
        observations, info = vector.reset(seed=source.seed if seed is None else seed)
        for step in range(frames * every):
            if step % every == 0:
                frame = _frame(vector.envs[0])  # type: ignore[attr-defined]
                assert frame is not None
                taken.append(frame)
                returns.append(total)
            allowed: Mapping[str, Any] = {"action_masks": action_masks(vector, info)} if masking else {}
            actions, state = predictor.predict(observations, task_id, state, **allowed)
            observations, rewards, terminated, truncated, info = vector.step(np.asarray(actions))
            total += float(rewards[0])
            ended = bool(terminated[0] or truncated[0])
            if ended:
                break
    finally:
        vector.close()
    returns[-1] = total
    return Film(tuple(taken), tuple(returns), ended)


def _drawable(source: EnvironmentSource) -> EnvironmentSource | None:
    """The recipe one by one, of environments that give a frame; None where they do not."""
    for kwargs in ({}, {"render_mode": "rgb_array"}):
        recipe = source.alone(**kwargs)
        try:
            env = recipe.make()
        except (DataError, EnvironmentApiError):  # no render_mode among its settings
            continue
        try:
            env.reset(seed=source.seed)
            if _frame(env) is not None:
                return recipe
        except Exception:  # whatever its own drawing lacks: pygame, a screen, a driver
            continue
        finally:
            env.close()
    return None


def _frame(env: Any) -> Frame | None:
    from rlcl_envs.drawing import picture

    drawn = picture(env.unwrapped)
    if drawn is None and env.render_mode == "rgb_array":
        drawn = np.asarray(env.render())
    return drawn if drawn is None or (drawn.ndim == 3 and drawn.shape[2] == 3) else None
