"""Composition of encoders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
from attrs import define
from torch import Tensor

from rlcl.config import option
from rlcl.encoders.frame_stack import FrameStack, PerFrame
from rlcl.encoders.identity import Identity
from rlcl.encoders.running_norm import RunningNorm
from rlcl.encoders.task_one_hot import TaskOneHot
from rlcl.errors import Problem, UnsupportedError
from rlcl.types import Encoder, Stream, TaskIds

__all__ = ["Compose", "observations_and_norm"]


def _arranged(encoders: Any) -> Any:
    """Return the encoders, with those before a frame stack applied to each frame.

    A value that is not iterable is returned as it is; validation rejects it.
    """
    if not isinstance(encoders, Iterable) or isinstance(encoders, str):
        return encoders
    flat = tuple(part for encoder in encoders for part in _flattened(encoder))
    stacks = [index for index, encoder in enumerate(flat) if isinstance(encoder, FrameStack)]
    if len(stacks) > 1:
        raise Problem(f"expected at most one frame_stack, got {len(stacks)}")
    if not stacks or stacks[0] == 0:
        return flat
    return (PerFrame(Compose(flat[: stacks[0]])), *flat[stacks[0] :])


@define
class Compose(Encoder):
    """Composition of encoders; each encoder is fitted on the outputs of the preceding one.

    Args:
        encoders: encoders in the order of their application. In a config a list has the same meaning.
    """

    encoders: tuple[Encoder, ...] = option(converter=_arranged)

    def adapt(self, stream: Stream) -> Stream:
        """Adapt the stream to every encoder; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: an encoder does not support the stream, or its position in the list.
        """
        if stream.spec.kind == "environment" and any(isinstance(e, RunningNorm) for e in _flattened(self)[:-1]):
            raise UnsupportedError(
                "encoder running_norm: for environments it must be the last encoder, because it normalizes the "
                "learner's inputs"
            )
        for position, encoder in enumerate(parts := _flattened(self), 1):
            if isinstance(encoder, TaskOneHot) and not all(isinstance(e, RunningNorm) for e in parts[position:]):
                raise UnsupportedError(
                    "encoder task_one_hot: it must be the last encoder, except for running_norm, because no encoder is "
                    "fitted on task ids"
                )
            stream = encoder.adapt(stream)
        return stream

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        for encoder in self.encoders:
            observation_shape = encoder.shape(observation_shape)
        return observation_shape

    def space(self, space: gym.spaces.Box) -> gym.spaces.Box:
        """See :meth:`rlcl.types.Encoder.space`."""
        for encoder in self.encoders:
            space = encoder.space(space)
        return space

    def fit(self, x: Tensor) -> None:
        for position, encoder in enumerate(self.encoders, 1):
            encoder.fit(x)
            if position < len(self.encoders):  # the output of the last encoder is not needed and may be costly
                x = encoder.encode(x, 0)

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        for encoder in self.encoders:
            x = encoder.encode(x, task_id)
        return x

    def state_dict(self) -> dict[str, Any]:
        return {"encoders": [encoder.state_dict() for encoder in self.encoders]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for encoder, part in zip(self.encoders, state["encoders"], strict=True):
            encoder.load_state_dict(part)


def _flattened(encoder: Encoder) -> list[Encoder]:
    if isinstance(encoder, Compose):
        return [leaf for part in encoder.encoders for leaf in _flattened(part)]
    return _flattened(encoder.encoder) if isinstance(encoder, PerFrame) else [encoder]


def observations_and_norm(encoder: Encoder) -> tuple[Encoder, RunningNorm | None]:
    """Split an environment's encoder into the encoder of observations and the running normalization at the end."""
    *rest, last = _flattened(encoder) or [encoder]
    if not isinstance(last, RunningNorm):
        return encoder, None
    return Compose(tuple(rest)) if rest else Identity(), last
