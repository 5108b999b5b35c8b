"""Flattening of images and of composite observations to vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from attrs import define
from torch import Tensor

from rlcl.data.environments.flattening import flattening_remedy, is_flattenable
from rlcl.errors import UnsupportedError
from rlcl.types import Encoder, Stream, TaskIds

__all__ = ["Flatten"]


@define
class Flatten(Encoder):
    """Flattening of observations (B, *observation) to vectors (B, features) float32.

    An environment's composite observation (Dict, Tuple) becomes one vector: the concatenation of its parts
    in the order of its space (by name). Discrete observations become one-hot. For this purpose, the encoder must be
    the first in a list.
    """

    def adapt(self, stream: Stream) -> Stream:
        """Return a stream of environments with flat observations; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: a part of the observations has no fixed length.
        """
        if stream.spec.kind != "environment" or stream.spec.encodable:
            return stream
        observations = stream[0].environment.spaces()[0]
        if not is_flattenable(observations):
            raise UnsupportedError(
                f"encoder flatten: the observations of environment {stream[0].environment.name} cannot be "
                f"flattened to a vector: {flattening_remedy(observations)}"
            )
        space, _ = stream[0].environment.flattened().spaces()
        return stream.with_environments(lambda source: source.flattened(), tuple(space.shape or ()))

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(observation_shape),)

    def fit(self, x: Tensor) -> None:
        pass

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        return x.flatten(1).to(torch.float32)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
