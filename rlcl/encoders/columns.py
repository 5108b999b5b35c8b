"""Separate encoders for numeric and categorical columns."""

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
from rlcl.types import Encoder, Stream, TaskIds

__all__ = ["Columns"]


@define(kw_only=True, eq=False)
class Columns(Encoder):
    """Separate encoders for numeric and categorical columns of a table, from (B, F) to flat vectors, numeric first.

    The data define the kind of each column (``table``). Without such a definition, all columns are numeric.

    Args:
        numeric: encoder of numeric columns.
        categorical: encoder of categorical columns, whose values are the category number or NaN.
    """

    numeric: Encoder = option(factory=Identity)
    categorical: Encoder = option(factory=Identity)
    _texts: tuple[int, ...] = field(init=False, default=())

    def adapt(self, stream: Stream) -> Stream:
        """Read the kinds of the columns from the stream; see :meth:`rlcl.types.Encoder.adapt`.

        Raises:
            UnsupportedError: the inputs are no table, or no column is categorical and ``categorical`` is set.
        """
        spec = stream.spec
        if not spec.columns:
            raise UnsupportedError(
                "encoder columns: the stream's inputs are no table with named columns; remove the encoder"
            )
        self._texts = tuple(index for index, column in enumerate(spec.columns) if column.categorical)
        if not self._texts and not isinstance(self.categorical, Identity):
            raise UnsupportedError(
                "encoder columns: categorical applies to no column, because all columns are numeric; list columns "
                "under data.categorical, or remove it"
            )
        for encoder, indices in self._parts(len(spec.columns)):
            if indices:
                part = attrs.evolve(
                    spec, observation_shape=(len(indices),), columns=tuple(spec.columns[index] for index in indices)
                )
                encoder.adapt(stream.changed(spec=part))
        return stream

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(observation_shape) != 1:
            raise UnsupportedError(f"encoder columns: expected rows of a table, got the shape {observation_shape}")
        widths = [encoder.shape((len(indices),)) for encoder, indices in self._parts(observation_shape[0]) if indices]
        return (sum(torch.Size(width).numel() for width in widths),)

    def fit(self, x: Tensor) -> None:
        for encoder, indices in self._parts(x.shape[1]):
            if indices:
                encoder.fit(x[:, indices])

    def encode(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        parts = [encoder.encode(x[:, indices], task_id) for encoder, indices in self._parts(x.shape[1]) if indices]
        return torch.cat([part.flatten(1) for part in parts], 1)

    def _parts(self, width: int) -> Sequence[tuple[Encoder, list[int]]]:
        numbers = [index for index in range(width) if index not in self._texts]
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
