"""Shuffled order of minibatches that can be resumed within an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

__all__ = ["Shuffle"]


@define(eq=False)
class Shuffle:
    """Sampler that yields each row once per epoch, in a random order.

    The permutation is not saved. It is reproduced from the generator's state at the start of the epoch.

    Args:
        generator: generator on the CPU that is used only here.
        part: index of the part of each minibatch that this process learns, and number of parts. Their sizes differ by
            at most 1.
    """

    _generator: torch.Generator
    part: tuple[int, int] = (0, 1)
    _epoch_start: Tensor | None = field(init=False, default=None)
    _offset: int = field(init=False, default=0)

    def batches(
        self, rows: int, batch_size: int, drop_last: bool, updates: int, device: torch.device | str = "cpu"
    ) -> Iterator[Tensor]:
        """Yield row indices (B,) int64, or the ``part`` of them, ``updates`` times, starting new epochs as needed.

        Args:
            rows: number of rows in the source.
            batch_size: B; the last minibatch of an epoch is smaller if B does not divide ``rows``.
            drop_last: whether a smaller last minibatch is dropped; the only minibatch of an epoch is never dropped.
            updates: number of minibatches to yield.
            device: device of the indices, which is that of the data.
        """
        index, parts = self.part
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
            yield batch if parts == 1 else batch.tensor_split(parts)[index]

    def copy(self) -> Shuffle:
        """Return an independent copy with the same state."""
        duplicate = Shuffle(torch.Generator(), self.part)
        duplicate.load_state_dict(self.state_dict())
        return duplicate

    def stop(self) -> None:
        """Discard an unfinished epoch, so that the next source starts a new one."""
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
