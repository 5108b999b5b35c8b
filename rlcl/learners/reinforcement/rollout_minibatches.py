"""Shuffled minibatches of a rollout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from attrs import define
from torch import Tensor

__all__ = ["Columns", "RolloutShuffler"]

Columns = Mapping[str, Tensor]  # arrays (B, ...) of a rollout's transitions, by name


@define(eq=False)
class RolloutShuffler:
    """Sampler of minibatches, which shuffles the transitions of a rollout in each epoch.

    Args:
        generator: source of randomness of the order.
    """

    generator: torch.Generator

    def minibatches(self, columns: Columns, size: int) -> Iterator[Columns]:
        """Yield shuffled minibatches; the unshuffled rollout if it fits in one minibatch.

        Args:
            columns: arrays (B, ...) by name.
            size: rows of a minibatch; the last minibatch may be smaller.
        """
        rows = len(columns["log_probs"])
        if size >= rows:
            yield columns
            return
        order = torch.randperm(rows, generator=self.generator).to(columns["log_probs"].device)
        parts = [torch.split(column.index_select(0, order), size) for column in columns.values()]
        yield from (dict(zip(columns, part, strict=True)) for part in zip(*parts, strict=True))
