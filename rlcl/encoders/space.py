"""The space of encoded observations."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from rlcl.types import Encoder

__all__ = ["encoded_space"]


def encoded_space(encoder: Encoder, space: gym.spaces.Box) -> gym.spaces.Box:
    """What an encoder makes of a box.

    An encoder that knows better than unbounded float32 says so in a method ``space``: bytes that
    stay bytes are images to Stable-Baselines3, and take a quarter of the memory in its buffers.

    Args:
        encoder: of the environment's observations.
        space: of raw observations.
    """
    declared = getattr(encoder, "space", None)
    if declared is not None:
        found: gym.spaces.Box = declared(space)
        return found
    return gym.spaces.Box(-np.inf, np.inf, encoder.shape(space.shape), np.float32)
