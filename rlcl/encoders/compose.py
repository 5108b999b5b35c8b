"""Encoders one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define
from torch import Tensor

from rlcl.config import option
from rlcl.types import Encoder

__all__ = ["Compose"]


@define
class Compose:
    """Applies encoders in order; each is fitted on what those before it make of the inputs.

    Args:
        encoders: in the order in which they are applied. In a config a list means the same.
    """

    encoders: tuple[Encoder, ...] = option(converter=tuple, help="in the order in which they are applied")

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        for encoder in self.encoders:
            observation_shape = encoder.shape(observation_shape)
        return observation_shape

    def fit(self, x: Tensor) -> None:
        for encoder in self.encoders:
            encoder.fit(x)
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
