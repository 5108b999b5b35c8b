"""Places among sorted values, by what an ONNX graph can hold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import field, frozen
from torch import Tensor

__all__ = ["Ranked"]


@frozen(eq=False)
class Ranked:
    """Some ascending values of each feature, in which others are looked up.

    ``torch.searchsorted`` cannot be traced. This halves the stretch in question step by step, for all values at once:
    as many steps as the number of values has binary digits, whatever is looked up.

    Args:
        values: of each feature those that are known, ascending, without NaN; any number, also none.
    """

    values: Sequence[Tensor]
    counts: Tensor = field(init=False)
    _all: Tensor = field(init=False)
    _starts: Tensor = field(init=False)

    def __attrs_post_init__(self) -> None:
        counts = torch.tensor([len(each) for each in self.values])
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "_starts", counts.cumsum(0) - counts)
        object.__setattr__(self, "_all", torch.cat([*self.values, torch.zeros(1, dtype=torch.float64)]))

    def at(self, places: Tensor) -> Tensor:
        """(B, F) the known values at places (B, F), each from 0 and less than its feature's count."""
        last = len(self._all) - 1
        return self._all.to(places.device)[(self._starts.to(places.device) + places).clamp(0, last)]

    def below(self, x: Tensor, *, equal: bool = False) -> Tensor:
        """How many of a feature's known values are less than a value; 0 for NaN.

        Args:
            x: (B, F) float64.
            equal: whether those that equal it count as well.

        Returns:
            (B, F) int64, as ``torch.searchsorted`` gives it, with ``right`` where ``equal``.
        """
        found, counts = torch.zeros_like(x, dtype=torch.int64), self.counts.to(x.device)
        most = max(map(len, self.values), default=0)
        for digit in reversed(range(most.bit_length())):
            tried = found + 2**digit
            known = self.at(tried - 1)
            fits = (known <= x) if equal else (known < x)
            found = torch.where(fits & (tried <= counts), tried, found)
        return found
