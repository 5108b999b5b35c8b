"""The order in which the transitions of a rollout are learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from attrs import define
from torch import Tensor

__all__ = ["Columns", "Order"]

Columns = Mapping[str, Tensor]  # of a rollout's transitions, (B, ...) each


@define(eq=False)
class Order:
    """Minibatches of a rollout, in another order at each pass.

    Args:
        generator: draws it.
    """

    generator: torch.Generator

    def minibatches(self, columns: Columns, size: int) -> Iterator[Columns]:
        """Parts of so many rows of columns (B, ...), the last one perhaps smaller; the whole where it is one part."""
        rows = len(columns["log_probs"])
        if size >= rows:
            yield columns
            return
        order = torch.randperm(rows, generator=self.generator).to(columns["log_probs"].device)
        parts = [torch.split(column.index_select(0, order), size) for column in columns.values()]
        yield from (dict(zip(columns, part, strict=True)) for part in zip(*parts, strict=True))
