"""Where minibatches come from: encoded arrays in memory, or rows that are read as they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from attrs import define, field, frozen
from torch import Tensor
from torch.utils.data import DataLoader

from rlcl.errors import DataError, UnsupportedError
from rlcl.learners.shuffle import Shuffle
from rlcl.types import ArraySource, Batch, Budget, Encoder

__all__ = [
    "ROWS_AT_ONCE",
    "InMemory",
    "Loader",
    "Minibatches",
    "Streamed",
    "budget_updates",
    "epoch_updates",
    "fitted_on",
]

ROWS_AT_ONCE = 512  # of a forward pass without gradient: what stays in the cache is fastest
FITTED_ROWS = 10_000  # of a source that is read as it is needed, that an encoder is fitted on


class Minibatches(Protocol):
    """One part's encoded inputs with their targets."""

    @property
    def source(self) -> ArraySource: ...

    def __len__(self) -> int: ...

    def at(self, rows: Tensor) -> Batch:
        """The examples at those places, (B,) int64."""
        ...

    def batches(self, shuffle: Shuffle, batch_size: int, drop_last: bool, updates: int) -> Iterator[Batch]:
        """Minibatches in a shuffled order; see :meth:`Shuffle.batches`."""
        ...


@frozen(eq=False)
class InMemory:
    """All of it on the device.

    Args:
        source: that it is of.
        inputs: (N, *encoded) float32.
        targets: (N, ...), None without labels.
        task_ids: (N,) int64, one for all, or None where hidden.
    """

    source: ArraySource
    inputs: Tensor
    targets: Tensor | None
    task_ids: Tensor | int | None

    def __len__(self) -> int:
        return len(self.inputs)

    def at(self, rows: Tensor) -> Batch:
        rows = rows.to(self.inputs.device)
        targets = None if self.targets is None else self.targets.index_select(0, rows)
        return Batch(self.inputs.index_select(0, rows), targets, ids_of(self.task_ids, rows), rows=rows)

    def batches(self, shuffle: Shuffle, batch_size: int, drop_last: bool, updates: int) -> Iterator[Batch]:
        for rows in shuffle.batches(len(self.inputs), batch_size, drop_last, updates, self.inputs.device):
            yield self.at(rows)


@frozen(eq=False)
class Streamed:
    """Read by a DataLoader's workers and encoded minibatch by minibatch, for what does not fit into memory.

    Args:
        source: read row by row.
        encoder: fitted.
        targets: (N, ...) on the device, None without labels.
        task_ids: (N,) int64, one for all, or None where hidden.
        device: a torch device.
    """

    source: ArraySource
    encoder: Encoder
    targets: Tensor | None
    task_ids: Tensor | int | None
    device: str

    def __len__(self) -> int:
        return len(self.source)

    def at(self, rows: Tensor) -> Batch:
        return self._batch(self.source.subset(rows.cpu()).read()[0], rows)

    def batches(self, shuffle: Shuffle, batch_size: int, drop_last: bool, updates: int) -> Iterator[Batch]:
        # The workers read ahead in an order of a copy's: the learner's own stands where the learner stands.
        order = (len(self.source), batch_size, drop_last, updates)
        loader: Iterable[Tensor | DataError] = DataLoader(
            _Reader(self.source),  # type: ignore[arg-type]
            batch_sampler=_Ordered(shuffle.copy(), order),  # type: ignore[arg-type]
            num_workers=self.source.workers,
            collate_fn=_as_it_is,
            generator=torch.Generator(),
            pin_memory=self.device != "cpu",
        )
        for rows, inputs in zip(shuffle.batches(*order), loader, strict=True):
            if isinstance(inputs, DataError):  # told here as itself, and not as a worker's traceback
                raise inputs
            yield self._batch(inputs, rows)

    def _batch(self, inputs: Tensor, rows: Tensor) -> Batch:
        encoded = self.encoder.encode(inputs).to(self.device)
        rows = rows.to(encoded.device)
        targets = None if self.targets is None else self.targets.index_select(0, rows)
        return Batch(encoded, targets, ids_of(self.task_ids, rows), rows=rows)


@define(eq=False)
class Loader:
    """Makes minibatches of arrays, in memory on the device that the next arrays use again.

    A new allocation for each experience costs more than its encoding: the system clears the pages.

    Args:
        encoder: fitted.
        device: a torch device.
    """

    encoder: Encoder
    device: str
    _buffer: Tensor | None = field(init=False, default=None)

    def load(self, source: ArraySource, targets: Tensor | None, task_id: int | None) -> Minibatches:
        """Encodes a source, or leaves it on disk where it is read as it is needed.

        Args:
            source: N rows.
            targets: (N, ...) that go with them.
            task_id: of all of them, where the source does not tell it for each.
        """
        ids = task_id if source.task_ids is None else source.task_ids
        if targets is not None:
            targets = targets.to(self.device)
        if source.streamed:
            return Streamed(source, self.encoder, targets, ids, self.device)
        return InMemory(source, self._encoded(source.read()[0]), targets, ids)

    def _encoded(self, x: Tensor) -> Tensor:
        start, buffer = 0, self._buffer
        for part in torch.split(x, ROWS_AT_ONCE):
            encoded = self.encoder.encode(part)
            if start == 0 and (buffer is None or len(buffer) < len(x) or buffer.shape[1:] != encoded.shape[1:]):
                self._buffer = buffer = torch.empty(len(x), *encoded.shape[1:], device=self.device)
            assert buffer is not None
            buffer[start : start + len(part)].copy_(encoded)
            start += len(part)
        assert buffer is not None
        return buffer[:start]


@frozen(eq=False)
class _Reader:
    """What a worker of the DataLoader holds: it reads a whole minibatch at a time."""

    source: ArraySource

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, rows: Tensor) -> Tensor | DataError:
        try:
            return self.source.subset(rows).read()[0]
        except DataError as error:
            return error


@frozen(eq=False)
class _Ordered:
    """Rows of one minibatch after the other, as a DataLoader asks for them."""

    shuffle: Shuffle
    order: tuple[int, int, bool, int]

    def __iter__(self) -> Iterator[Tensor]:
        return self.shuffle.batches(*self.order)


def _as_it_is(batch: Any) -> Any:
    return batch


def ids_of(task_ids: Tensor | int | None, rows: Tensor) -> Tensor | None:
    """(B,) int64 task ids of the rows (B,), on their device."""
    if task_ids is None:
        return None
    if isinstance(task_ids, int):
        return torch.full((len(rows),), task_ids, device=rows.device)
    return task_ids.to(rows.device).index_select(0, rows)


def fitted_on(source: ArraySource) -> Tensor:
    """What an encoder is fitted on: everything, or of a source that is read as it is needed, evenly spaced rows."""
    if source.streamed and len(source) > FITTED_ROWS:
        source = source.subset(torch.linspace(0, len(source) - 1, FITTED_ROWS).long())
    return source.read()[0]


def budget_updates(budget: Budget, rows: int, batch_size: int, drop_last: bool = False) -> int:
    """How many updates a budget is for a source of that many rows.

    Raises:
        UnsupportedError: a budget in env steps or episodes.
    """
    epoch = epoch_updates(rows, batch_size, drop_last)
    if budget.epochs is not None:
        return budget.epochs * epoch
    if budget.updates is not None:
        return budget.updates
    if budget.samples is not None:
        epochs, rest = divmod(budget.samples, epoch * batch_size if drop_last else rows)
        return epochs * epoch + math.ceil(rest / batch_size)
    raise UnsupportedError(
        f"budget.{budget.unit}: arrays have no {budget.unit.replace('_', ' ')}; use epochs, updates or samples"
    )


def epoch_updates(rows: int, batch_size: int, drop_last: bool = False) -> int:
    """How many updates one pass over that many rows takes, at least 1."""
    return max(rows // batch_size if drop_last else math.ceil(rows / batch_size), 1)
