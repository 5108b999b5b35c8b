"""Minibatches of encoded arrays in memory, or of rows that are read on demand."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from attrs import define, field, frozen
from torch import Tensor
from torch.utils.data import DataLoader

from rlcl.errors import DataError, UnsupportedError
from rlcl.learners.shuffle import Shuffle
from rlcl.types import ArraySource, Batch, Budget, Encoder, TaskIds

__all__ = [
    "ROWS_AT_ONCE",
    "InMemoryMinibatches",
    "MinibatchLoader",
    "Minibatches",
    "StreamedMinibatches",
    "budget_updates",
    "epoch_updates",
    "fitting_rows",
]

ROWS_AT_ONCE = 512  # rows of a forward pass without gradient: chunks that fit into the cache are fastest
FITTED_ROWS = 10_000  # maximum number of rows of a streamed source that an encoder is fitted on


class Minibatches(Protocol):
    """The encoded inputs and targets of one part of an experience."""

    @property
    def source(self) -> ArraySource: ...

    def __len__(self) -> int: ...

    def at(self, rows: Tensor) -> Batch:
        """Return the examples at row indices (B,) int64."""
        ...

    def batches(self, shuffle: Shuffle, batch_size: int, drop_last: bool, updates: int) -> Iterator[Batch]:
        """Yield minibatches in a shuffled order; see :meth:`Shuffle.batches`."""
        ...


@frozen(eq=False)
class InMemoryMinibatches:
    """Minibatches of arrays that are encoded once and held on the device.

    Args:
        source: source of the arrays.
        inputs: (N, *encoded) float32.
        targets: (N, ...), or None without labels.
        task_ids: (N,) int64, one id for all rows, or None if hidden.
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
        return Batch(self.inputs.index_select(0, rows), targets, task_ids_of(self.task_ids, rows), rows=rows)

    def batches(self, shuffle: Shuffle, batch_size: int, drop_last: bool, updates: int) -> Iterator[Batch]:
        for rows in shuffle.batches(len(self.inputs), batch_size, drop_last, updates, self.inputs.device):
            yield self.at(rows)


@frozen(eq=False)
class StreamedMinibatches:
    """Minibatches that DataLoader workers read from a source that does not fit into memory.

    Each minibatch is encoded when it is used.

    Args:
        source: source that is read by row.
        encoder: fitted encoder.
        targets: (N, ...) on the device, or None without labels.
        task_ids: (N,) int64, one id for all rows, or None if hidden.
        device: torch device.
    """

    source: ArraySource
    encoder: Encoder
    targets: Tensor | None
    task_ids: Tensor | int | None
    device: str

    def __len__(self) -> int:
        return len(self.source)

    def at(self, rows: Tensor) -> Batch:
        return self._batch(_read(self.source, rows.cpu()), rows)

    def batches(self, shuffle: Shuffle, batch_size: int, drop_last: bool, updates: int) -> Iterator[Batch]:
        # The workers read ahead with a copy of the shuffle, so that the learner's own shuffle keeps its position.
        batch_arguments = (len(self.source), batch_size, drop_last, updates)
        loader: Iterable[Tensor | DataError] = DataLoader(
            _MinibatchReader(self.source),  # type: ignore[arg-type]
            batch_sampler=_MinibatchRows(shuffle.copy(), batch_arguments),  # type: ignore[arg-type]
            num_workers=self.source.workers,
            worker_init_fn=_ignore_signals,
            collate_fn=_unchanged,
            generator=torch.Generator(),
            pin_memory=self.device != "cpu",
        )
        for rows, inputs in zip(shuffle.batches(*batch_arguments), loader, strict=True):
            if isinstance(inputs, DataError):  # raised here, because a worker would print a traceback
                raise inputs
            yield self._batch(inputs, rows)

    def _batch(self, inputs: Tensor, rows: Tensor) -> Batch:
        ids = task_ids_of(self.task_ids, rows)
        encoded = self.encoder.encode(inputs, ids).to(self.device)
        rows = rows.to(encoded.device)
        targets = None if self.targets is None else self.targets.index_select(0, rows)
        return Batch(encoded, targets, None if ids is None else ids.to(encoded.device), rows=rows)


@define(eq=False)
class MinibatchLoader:
    """Loader of minibatches of arrays, with a buffer on the device that is reused for each source.

    A new allocation for each experience would take longer than the encoding, because the system clears the pages.

    Args:
        encoder: fitted encoder.
        device: torch device.
    """

    encoder: Encoder
    device: str
    _buffer: Tensor | None = field(init=False, default=None)

    def load(self, source: ArraySource, targets: Tensor | None, task_id: int | None) -> Minibatches:
        """Encode a source; a streamed source stays on disk.

        Args:
            source: source of N rows.
            targets: (N, ...) targets of the rows.
            task_id: task id of all rows, if the source has no task ids of its own.
        """
        ids = task_id if source.task_ids is None else source.task_ids
        if targets is not None:
            targets = targets.to(self.device)
        if source.streamed:
            return StreamedMinibatches(source, self.encoder, targets, ids, self.device)
        return InMemoryMinibatches(source, self._encoded(source.read()[0], ids), targets, ids)

    def _encoded(self, x: Tensor, ids: TaskIds) -> Tensor:
        start, buffer = 0, self._buffer
        for part in torch.split(x, ROWS_AT_ONCE):
            part_ids = ids[start : start + len(part)] if isinstance(ids, Tensor) else ids
            encoded = self.encoder.encode(part, part_ids)
            if start == 0 and (buffer is None or len(buffer) < len(x) or buffer.shape[1:] != encoded.shape[1:]):
                self._buffer = buffer = torch.empty(len(x), *encoded.shape[1:], device=self.device)
            assert buffer is not None
            buffer[start : start + len(part)].copy_(encoded)
            start += len(part)
        assert buffer is not None
        return buffer[:start]


@frozen(eq=False)
class _MinibatchReader:
    """Data set of a DataLoader worker, which reads one minibatch at a time."""

    source: ArraySource

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, rows: Tensor) -> Tensor | DataError:
        try:
            return _read(self.source, rows)
        except DataError as error:
            return error


@frozen(eq=False)
class _MinibatchRows:
    """Batch sampler of a DataLoader: the row indices of each minibatch."""

    shuffle: Shuffle
    batch_arguments: tuple[int, int, bool, int]  # of Shuffle.batches

    def __iter__(self) -> Iterator[Tensor]:
        return self.shuffle.batches(*self.batch_arguments)


def _read(source: ArraySource, rows: Tensor) -> Tensor:
    """Return the inputs (B, ...) of the rows (B,); B is 0 where other processes learn the whole minibatch."""
    return source.subset(rows).read()[0] if len(rows) else source.subset(torch.zeros(1).long()).read()[0][:0]


def _ignore_signals(worker: int) -> None:
    """Leave signals to the whole process group to the owner, which ends its workers."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


def _unchanged(batch: Any) -> Any:
    """Return a batch as the data set returned it, without collation."""
    return batch


def task_ids_of(task_ids: Tensor | int | None, rows: Tensor) -> Tensor | None:
    """Return the task ids (B,) int64 of the rows (B,), on the device of the rows."""
    if task_ids is None:
        return None
    if isinstance(task_ids, int):
        return torch.full((len(rows),), task_ids, device=rows.device)
    return task_ids.to(rows.device).index_select(0, rows)


def fitting_rows(source: ArraySource) -> Tensor:
    """Return the rows on which an encoder is fitted: all rows, or evenly spaced rows of a large streamed source."""
    if source.streamed and len(source) > FITTED_ROWS:
        source = source.subset(torch.linspace(0, len(source) - 1, FITTED_ROWS).long())
    return source.read()[0]


def budget_updates(budget: Budget, rows: int, batch_size: int, drop_last: bool = False) -> int:
    """Return the number of updates in a budget, for a source with a number of rows.

    Raises:
        UnsupportedError: the budget is in env steps or episodes.
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
    """Return the number of updates in one epoch over a number of rows, at least 1."""
    return max(rows // batch_size if drop_last else math.ceil(rows / batch_size), 1)
