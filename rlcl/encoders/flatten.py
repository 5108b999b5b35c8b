"""Images to vectors, and observations of several parts too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from attrs import define
from torch import Tensor

from rlcl.data.environments.vectors import can_be_flat, remedy_for
from rlcl.errors import UnsupportedError
from rlcl.types import Encoder, Stream

__all__ = ["Flatten"]


@define
class Flatten(Encoder):
    """(B, *observation) to (B, features) float32.

    An environment's observation of several parts (Dict, Tuple) becomes one vector, its parts one after the other
    in the order of its space (by name); one of several things (Discrete) is one-hot. So it stands first in a list.
    """

    def adapt(self, stream: Stream) -> Stream:
        """The same environments, whose observations are arrays; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: a part of their observations is no array of one length.
        """
        if stream.spec.kind != "environment" or stream.spec.encodable:
            return stream
        observations = stream[0].environment.spaces()[0]
        if not can_be_flat(observations):
            raise UnsupportedError(
                f"encoder flatten: the observations of environment {stream[0].environment.name} cannot be made a "
                f"vector: {remedy_for(observations)}"
            )
        space, _ = stream[0].environment.flattened().spaces()
        return stream.with_environments(lambda each: each.flattened(), tuple(space.shape or ()))

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(observation_shape),)

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1).to(torch.float32)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
