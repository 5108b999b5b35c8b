"""Observations, actions and masks against their spaces."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium as gym
import numpy as np

from rlcl.data.environments.action_masks import action_counts
from rlcl.data.environments.contract import check_observation, shorten
from rlcl.data.environments.environment import Environment
from rlcl.doctor.findings import Finding
from rlcl.doctor.recording import Recording, flat_numbers
from rlcl.errors import Problem

__all__ = ["check_actions", "check_images", "check_masks", "check_observations"]

LARGE = 100.0  # of an observation's elements, beyond which networks learn badly


def check_observations(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Compare each observation with the observation space, and look at the scale of its elements."""
    space = recording.observation_space
    for index, observation in enumerate(recording.observations):
        try:
            check_observation(space, observation)
        except Problem as problem:
            yield Finding(
                "observation space",
                "error",
                f"observation {index:,}: {problem}",
                "correct observation_space or the observation",
            )
            return
    if not all(np.isfinite(flat_numbers(observation)).all() for observation in recording.observations):
        yield Finding("observation space", "error", "observations contain NaN or infinite values", "correct them")
        return
    yield Finding("observation space", "ok", f"{len(recording.observations):,} observations are in their space")
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and space.shape[0]:
        yield from _check_scale(np.stack(recording.observations).astype(np.float64))


def _check_scale(values: np.ndarray) -> Iterator[Finding]:
    largest = np.abs(values).max(0)
    constant = np.flatnonzero(np.ptp(values, axis=0) == 0)
    wide = np.flatnonzero(largest > LARGE)
    if len(wide):
        index = int(wide[largest[wide].argmax()])
        yield Finding(
            "observation scale",
            "warning",
            f"{len(wide)} of {values.shape[1]} elements exceed {LARGE:g}; element {index} reaches {largest[index]:.4g}",
            "add the encoder running_norm, or scale observations in the environment",
        )
    else:
        yield Finding("observation scale", "ok", f"elements reach {largest.max():.4g}")
    if len(constant):
        shown = ", ".join(map(str, constant[:8])) + (", ..." if len(constant) > 8 else "")
        yield Finding(
            "observation scale",
            "note",
            f"{len(constant)} of {values.shape[1]} elements never changed: {shown}",
            "remove them, unless other actions or tasks change them",
        )


def check_images(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Look at the order of axes and the range of values of images."""
    space = recording.observation_space
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 3:
        return
    first, last = space.shape[0], space.shape[-1]
    channels_last = last <= 4 < first or (last < first and last < space.shape[1])
    order = f"images of shape {space.shape}"
    if channels_last:
        yield Finding(
            "images",
            "note",
            f"{order} have their channels last; networks of rlcl and torch expect them first",
            "add the encoder channels_first",
        )
    else:
        yield Finding("images", "ok", f"{order} have their channels first")
    if space.dtype == np.uint8:
        yield Finding(
            "images",
            "note",
            "values are 8-bit integers",
            "add the encoder scale after channels_first, which divides by 255",
        )
    elif recording.observations and max(float(np.max(o)) for o in recording.observations) > 2.0:
        yield Finding(
            "images",
            "warning",
            f"pixels are {space.dtype} and exceed 2",
            "return uint8, which takes a quarter of the memory of replay buffers, and add the encoder scale",
        )


def check_actions(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Look at the action space."""
    space = recording.action_space
    if isinstance(space, gym.spaces.Box):
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            yield Finding(
                "action space",
                "warning",
                f"{shorten(space)} has no bounds",
                "bound it; sac and td3 need bounds, and policies explore within them",
            )
            return
        if not (np.allclose(space.low, -1) and np.allclose(space.high, 1)):
            yield Finding(
                "action space",
                "note",
                f"its bounds are [{space.low.min():g}, {space.high.max():g}] and not [-1, 1]",
                "sac and td3 scale actions themselves; for ppo, add the wrapper RescaleAction",
            )
            return
    elif not action_counts(space):
        yield Finding(
            "action space",
            "error",
            f"{shorten(space)} is not supported by any learner",
            "use Discrete, MultiDiscrete or MultiBinary of one dimension, or a Box of floats, by a wrapper",
        )
        return
    yield Finding("action space", "ok", shorten(space))


def check_masks(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Check that masks allow an action, and how much they forbid."""
    masks = [mask for mask in recording.masks if mask is not None]
    if not masks:
        return
    sizes = action_counts(recording.action_space)
    for index, mask in enumerate(recording.masks):
        parts = [] if mask is None else np.split(mask, np.cumsum(sizes)[:-1])
        if any(not part.any() for part in parts):
            yield Finding("action masks", "error", f"no action is allowed before env step {index + 1:,}", "allow one")
            return
    missing = len(recording.masks) - len(masks)
    if missing:
        yield Finding(
            "action masks",
            "note",
            f"{missing:,} of {len(recording.masks):,} states have no mask; all actions count as allowed there",
        )
    share = float(np.mean([mask.mean() for mask in masks]))
    yield Finding("action masks", "ok", f"{share:.0%} of the actions are allowed on average")
