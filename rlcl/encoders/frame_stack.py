"""Stacking of the last observations of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from attrs import define, frozen
from torch import Tensor

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.types import Encoder, Stream, TaskIds

__all__ = ["FrameStack", "PerFrame"]


@define(kw_only=True)
class FrameStack(Encoder):
    """Concatenation of an environment's last observations along their channels, the oldest first.

    The environments stack their own frames: each returns its last observations, (frames, *observation). At the start
    of an episode the first observation is repeated. The encoder therefore has no state, and needs no special handling
    of vectorized environments, ends of episodes, final observations after truncation, or evaluation. Encoders before
    it in a list are applied to each frame.

    Args:
        frames: number of observations.
        channels: axis of the concatenation: ``last`` as in Gymnasium's images (and in vectors), or ``first``.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning, methods.
    """

    frames: int = option(4, ge=2)
    channels: Literal["first", "last"] = option("last")

    def adapt(self, stream: Stream) -> Stream:
        """Return a stream of environments with stacked observations; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: the stream has no environments, or its observations are not arrays.
        """
        if stream.spec.kind != "environment":
            raise UnsupportedError(
                f"encoder frame_stack joins successive observations of an environment, and this stream is "
                f"{stream.spec.kind}; remove the encoder"
            )
        if not stream.spec.encodable:
            raise UnsupportedError(
                "encoder frame_stack needs observations that are arrays, and these are composite or discrete; put "
                "flatten before it: encoder: [{type: flatten}, {type: frame_stack}]"
            )
        shape = (self.frames, *stream.spec.observation_shape)
        return stream.with_environments(lambda source: source.stacked(self.frames), shape)

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        frames, *one = observation_shape
        if frames != self.frames:
            raise UnsupportedError(
                f"encoder frame_stack: expected {self.frames} frames in an observation, got inputs of shape "
                f"{observation_shape}"
            )
        if not one:
            return (frames,)
        return (frames * one[0], *one[1:]) if self.channels == "first" else (*one[:-1], frames * one[-1])

    def space(self, space: gym.spaces.Box) -> gym.spaces.Box:
        """Return a uint8 space for 8-bit images; see :meth:`rlcl.types.Encoder.space`."""
        low, high = (self._concatenate(torch.from_numpy(b[None])).numpy()[0] for b in (space.low, space.high))
        dtype = np.uint8 if space.dtype == np.uint8 else np.float32
        return gym.spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        return self._concatenate(x).to(torch.float32)

    def _concatenate(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x
        return x.flatten(1, 2) if self.channels == "first" else x.movedim(1, -2).flatten(-2)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


@frozen
class PerFrame(Encoder):
    """Application of an encoder to each frame of (B, frames, *observation); it is fitted on the newest frame only.

    Args:
        encoder: encoder of one frame.
    """

    encoder: Encoder

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (observation_shape[0], *self.encoder.shape(observation_shape[1:]))

    def space(self, space: gym.spaces.Box) -> gym.spaces.Box:
        dtype: Any = space.dtype
        one = self.encoder.space(gym.spaces.Box(space.low[0], space.high[0], dtype=dtype))
        low, high = (np.stack([bound] * space.shape[0]) for bound in (one.low, one.high))
        return gym.spaces.Box(low, high, dtype=one.dtype)

    def fit(self, x: Tensor) -> None:
        self.encoder.fit(x[:, -1])

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        repeated = task_id.repeat_interleave(x.shape[1]) if isinstance(task_id, Tensor) else task_id
        encoded = self.encoder.encode(x.flatten(0, 1), repeated)
        return encoded.reshape(*x.shape[:2], *encoded.shape[1:])

    def state_dict(self) -> dict[str, Any]:
        return self.encoder.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.encoder.load_state_dict(state)
