"""Columns of numbers and columns of texts, each encoded in its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.encoders.identity import Identity
from rlcl.errors import UnsupportedError
from rlcl.types import Encoder, Stream

__all__ = ["Columns"]


@define(kw_only=True, eq=False)
class Columns(Encoder):
    """Encodes a table's columns of numbers and those of texts apart: (B, F) to the one, then the other, flat.

    Which is which the data say (``table``); where nothing is said, all columns are numbers.

    Args:
        numeric: of columns of numbers.
        categorical: of columns of texts, which are the number of each text, or NaN.
    """

    numeric: Encoder = option(factory=Identity)
    categorical: Encoder = option(factory=Identity)
    _texts: tuple[int, ...] = field(init=False, default=())

    def adapt(self, stream: Stream) -> Stream:
        """Learns from the stream which columns are texts; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: its inputs are no table, or it holds no texts though an encoder for them is named.
        """
        spec = stream.spec
        if not spec.columns:
            raise UnsupportedError("encoder columns: the stream's inputs are no table with named columns; leave it out")
        self._texts = tuple(place for place, column in enumerate(spec.columns) if column.categorical)
        if not self._texts and not isinstance(self.categorical, Identity):
            raise UnsupportedError(
                "encoder columns: categorical covers no column, for all of them hold numbers; name columns under "
                "data.categorical, or leave it out"
            )
        for encoder, places in self._parts(len(spec.columns)):
            if places:
                part = attrs.evolve(
                    spec, observation_shape=(len(places),), columns=tuple(spec.columns[place] for place in places)
                )
                encoder.adapt(stream.changed(spec=part))
        return stream

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(observation_shape) != 1:
            raise UnsupportedError(f"encoder columns: expected rows of a table, got the shape {observation_shape}")
        widths = [encoder.shape((len(places),)) for encoder, places in self._parts(observation_shape[0]) if places]
        return (sum(torch.Size(width).numel() for width in widths),)

    def fit(self, x: Tensor) -> None:
        for encoder, places in self._parts(x.shape[1]):
            if places:
                encoder.fit(x[:, places])

    def encode(self, x: Tensor) -> Tensor:
        parts = [encoder.encode(x[:, places]) for encoder, places in self._parts(x.shape[1]) if places]
        return torch.cat([part.flatten(1) for part in parts], 1)

    def _parts(self, width: int) -> Sequence[tuple[Encoder, list[int]]]:
        numbers = [place for place in range(width) if place not in self._texts]
        return ((self.numeric, numbers), (self.categorical, list(self._texts)))

    def state_dict(self) -> dict[str, Any]:
        return {
            "texts": self._texts,
            "numeric": self.numeric.state_dict(),
            "categorical": self.categorical.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._texts = tuple(state["texts"])
        self.numeric.load_state_dict(state["numeric"])
        self.categorical.load_state_dict(state["categorical"])
