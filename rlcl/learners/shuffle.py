"""Minibatches in a shuffled order that can be resumed in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

__all__ = ["Shuffle"]


@define(eq=False)
class Shuffle:
    """Draws each row once an epoch, in an order of its own generator's.

    The permutation is not saved: the generator's state at the start of the epoch draws it again.

    Args:
        generator: on the CPU; nothing else draws from it.
    """

    _generator: torch.Generator
    _epoch_start: Tensor | None = field(init=False, default=None)
    _offset: int = field(init=False, default=0)

    def batches(
        self, rows: int, batch_size: int, drop_last: bool, updates: int, device: torch.device | str = "cpu"
    ) -> Iterator[Tensor]:
        """Yields (B,) int64 row indices, ``updates`` times, starting new epochs as needed.

        Args:
            rows: number of rows in the source.
            batch_size: B; the last of an epoch is smaller where they do not divide.
            drop_last: whether a smaller last one is left out, unless it is all there is.
            updates: how many to yield.
            device: of the indices, the data's own.
        """
        end = rows - rows % batch_size if drop_last and rows >= batch_size else rows
        order = self._resumed_order(rows, device)
        for _ in range(updates):
            if order is None:
                self._epoch_start = self._generator.get_state()
                self._offset = 0
                order = torch.randperm(rows, generator=self._generator).to(device)
            batch = order[self._offset : min(self._offset + batch_size, end)]
            self._offset += batch_size
            if self._offset >= end:
                order = self._epoch_start = None
            yield batch

    def copy(self) -> Shuffle:
        """One that goes on as this one will, and leaves it alone."""
        made = Shuffle(torch.Generator())
        made.load_state_dict(self.state_dict())
        return made

    def stop(self) -> None:
        """Forgets an unfinished epoch: the next source starts its own."""
        self._epoch_start = None

    def _resumed_order(self, rows: int, device: torch.device | str) -> Tensor | None:
        if self._epoch_start is None:
            return None
        generator = torch.Generator()
        generator.set_state(self._epoch_start)
        return torch.randperm(rows, generator=generator).to(device)

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state(), "epoch_start": self._epoch_start, "offset": self._offset}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._generator.set_state(state["generator"])
        self._epoch_start, self._offset = state["epoch_start"], state["offset"]
