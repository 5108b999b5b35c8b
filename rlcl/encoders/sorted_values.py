"""Binary search among sorted values, with operations of ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import field, frozen
from torch import Tensor

__all__ = ["SortedValues"]


@frozen(eq=False)
class SortedValues:
    """Sorted values of each feature, with a binary search that can be exported.

    ``torch.searchsorted`` cannot be traced. This binary search processes all queries at once. Its number of steps is
    the number of binary digits of the maximum number of values of a feature.

    Args:
        values: ascending values of each feature, without NaN; a feature may have any number of values, also none.
    """

    values: Sequence[Tensor]
    counts: Tensor = field(init=False)
    _all: Tensor = field(init=False)
    _starts: Tensor = field(init=False)

    def __attrs_post_init__(self) -> None:
        counts = torch.tensor([len(feature_values) for feature_values in self.values])
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "_starts", counts.cumsum(0) - counts)
        object.__setattr__(self, "_all", torch.cat([*self.values, torch.zeros(1, dtype=torch.float64)]))

    def at(self, indices: Tensor) -> Tensor:
        """Return the values (B, F) at indices (B, F), each from 0 and less than its feature's count."""
        last = len(self._all) - 1
        return self._all.to(indices.device)[(self._starts.to(indices.device) + indices).clamp(0, last)]

    def count_below(self, x: Tensor, *, equal: bool = False) -> Tensor:
        """Count the values of each feature that are less than a query; 0 for NaN.

        Args:
            x: queries (B, F) float64.
            equal: whether values that equal the query count as well.

        Returns:
            (B, F) int64, the result of ``torch.searchsorted``, with ``right=equal``.
        """
        below, counts = torch.zeros_like(x, dtype=torch.int64), self.counts.to(x.device)
        maximum = max(map(len, self.values), default=0)
        for digit in reversed(range(maximum.bit_length())):
            candidate = below + 2**digit
            value = self.at(candidate - 1)
            is_below = (value <= x) if equal else (value < x)
            below = torch.where(is_below & (candidate <= counts), candidate, below)
        return below
