"""Encoders one after the other."""

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
from rlcl.errors import Problem, UnsupportedError
from rlcl.types import Encoder, Stream

__all__ = ["Compose", "observations_and_norm"]


def _arranged(encoders: Any) -> Any:
    """The encoders, those before a frame stack applied to each frame; what is no list is for the rule to refuse."""
    if not isinstance(encoders, Iterable) or isinstance(encoders, str):
        return encoders
    found = tuple(each for encoder in encoders for each in _flat(encoder))
    stacks = [place for place, encoder in enumerate(found) if isinstance(encoder, FrameStack)]
    if len(stacks) > 1:
        raise Problem(f"expected at most one frame_stack, got {len(stacks)}")
    if not stacks or stacks[0] == 0:
        return found
    return (PerFrame(Compose(found[: stacks[0]])), *found[stacks[0] :])


@define
class Compose(Encoder):
    """Applies encoders in order; each is fitted on what those before it make of the inputs.

    Args:
        encoders: in the order in which they are applied. In a config a list means the same.
    """

    encoders: tuple[Encoder, ...] = option(converter=_arranged)

    def adapt(self, stream: Stream) -> Stream:
        """The stream as every encoder asks for it; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: an encoder refuses the stream, or its place in the list.
        """
        if stream.spec.kind == "environment" and any(isinstance(e, RunningNorm) for e in _flat(self)[:-1]):
            raise UnsupportedError(
                "encoder running_norm: over environments it comes last, for it normalises what the learner is given"
            )
        for encoder in _flat(self):
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
        for place, encoder in enumerate(self.encoders, 1):
            encoder.fit(x)
            if place < len(self.encoders):  # what the last one makes of them nobody reads, and it may be costly
                x = encoder.encode(x)

    def encode(self, x: Tensor) -> Tensor:
        for encoder in self.encoders:
            x = encoder.encode(x)
        return x

    def state_dict(self) -> dict[str, Any]:
        return {"encoders": [encoder.state_dict() for encoder in self.encoders]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for encoder, part in zip(self.encoders, state["encoders"], strict=True):
            encoder.load_state_dict(part)


def _flat(encoder: Encoder) -> list[Encoder]:
    if isinstance(encoder, Compose):
        return [each for part in encoder.encoders for each in _flat(part)]
    return _flat(encoder.encoder) if isinstance(encoder, PerFrame) else [encoder]


def observations_and_norm(encoder: Encoder) -> tuple[Encoder, RunningNorm | None]:
    """An environment's encoder in two: what encodes observations, and the running normalisation that comes last."""
    *rest, last = _flat(encoder) or [encoder]
    if not isinstance(last, RunningNorm):
        return encoder, None
    return Compose(tuple(rest)) if rest else Identity(), last
