"""Examples of an experience, from the data that a user trains on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from rlcl.errors import DataError
from rlcl.seeding import preserved_global_state

__all__ = ["Columns", "Examples", "examples_of", "split_minibatch"]

Columns = tuple[Tensor, Tensor | None]  # inputs (B, ...) and targets (B, ...), None without targets
EXPECTED = "expected inputs and targets (x, y), a torch Dataset, a DataLoader, or a list of minibatches (x, y)"


class Examples(Protocol):
    """Examples that can be read by their indices."""

    def __len__(self) -> int: ...

    def at(self, rows: Sequence[int]) -> Columns:
        """Return the examples at some indices."""
        ...


@frozen(eq=False)
class _Arrays:
    inputs: Tensor
    targets: Tensor | None

    def __len__(self) -> int:
        return len(self.inputs)

    def at(self, rows: Sequence[int]) -> Columns:
        indices = torch.as_tensor(rows, dtype=torch.int64)
        inputs = self.inputs.index_select(0, indices.to(self.inputs.device))
        if self.targets is None:
            return inputs, None
        return inputs, self.targets.index_select(0, indices.to(self.targets.device))


@frozen(eq=False)
class _MapDataset:
    dataset: Any
    collate: Callable[[list[Any]], Any]

    def __len__(self) -> int:
        return len(self.dataset)

    def at(self, rows: Sequence[int]) -> Columns:
        return split_minibatch(self.collate([self.dataset[int(row)] for row in rows]))


def examples_of(data: Any) -> Examples:
    """Return the examples of an experience.

    Minibatches in a list or in another iterable are read and joined. Of a data set, or of the one behind a loader, only
    the rows that are asked for are read.

    Args:
        data: inputs and targets ``(x, y)``, inputs ``x``, a data set, a ``DataLoader``, or an iterable of minibatches
            that can be read more than once.

    Raises:
        DataError: it is something else, or has no examples.
    """
    if isinstance(data, Tensor | np.ndarray) or _is_pair(data):
        examples: Examples = _Arrays(*split_minibatch(data))
    elif isinstance(data, DataLoader) and _is_map(data.dataset):
        examples = _MapDataset(data.dataset, data.collate_fn)
    elif isinstance(data, Dataset) and _is_map(data):
        examples = _MapDataset(data, default_collate)
    elif isinstance(data, Iterator):
        raise DataError("data: an iterator can be read only once; give the list or the loader that it comes from")
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes | dict):
        examples = _joined(data)
    else:
        raise DataError(f"data: {EXPECTED}; got {type(data).__name__}")
    if not len(examples):
        raise DataError("data: it has no examples")
    with preserved_global_state():  # a data set may augment its examples
        examples.at([0])  # raises now for a form that cannot be read at the end
    return examples


def split_minibatch(batch: Any) -> Columns:
    """Return the inputs and targets of a minibatch ``(x, y)``, or of inputs ``x`` alone.

    Raises:
        DataError: it is something else, or the numbers of inputs and targets differ.
    """
    if isinstance(batch, Tensor | np.ndarray):
        return torch.as_tensor(batch), None
    if not _is_pair(batch):
        raise DataError(f"data: {EXPECTED}; got a minibatch of type {_described(batch)}")
    inputs, targets = map(torch.as_tensor, batch)
    if not inputs.ndim or not targets.ndim or len(inputs) != len(targets):
        shapes = f"{tuple(inputs.shape)} and {tuple(targets.shape)}"
        raise DataError(f"data: expected as many targets as inputs; got shapes {shapes}")
    return inputs, targets


def _joined(batches: Iterable[Any]) -> _Arrays:
    columns = [split_minibatch(batch) for batch in batches]
    if not columns:
        return _Arrays(torch.empty(0), None)
    targets = [y for _, y in columns if y is not None]
    return _Arrays(torch.cat([x for x, _ in columns]), torch.cat(targets) if targets else None)


def _is_pair(value: Any) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    return all(isinstance(part, Tensor | np.ndarray) for part in value)


def _is_map(dataset: Any) -> bool:
    return not isinstance(dataset, IterableDataset) and hasattr(dataset, "__len__")


def _described(value: Any) -> str:
    inner = f" of {', '.join(type(v).__name__ for v in value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{inner}"
