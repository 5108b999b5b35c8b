"""Examples of an experience, from the data that a user trains on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from attrs import define, frozen
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from rlcl.errors import DataError
from rlcl.seeding import preserved_global_state

__all__ = ["Columns", "Examples", "examples_of", "first_examples", "split_minibatch"]

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
    """Rows of a data set, all or those that the sampler of a loader yields."""

    dataset: Any
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, rows: Sequence[int]) -> Columns:
        return split_minibatch(default_collate([self.dataset[self.rows[row]] for row in rows]))


@define(eq=False, slots=False)
class _Minibatches:
    """Joined minibatches, which are read when they are needed."""

    batches: Iterable[Any]

    @cached_property
    def _arrays(self) -> _Arrays:
        with _undisturbed(self.batches):
            columns = [split_minibatch(batch) for batch in self.batches]
        targets = [y for _, y in columns if y is not None]
        return _Arrays(torch.cat([x for x, _ in columns]), torch.cat(targets) if targets else None)

    def __len__(self) -> int:
        return len(self._arrays)

    def at(self, rows: Sequence[int]) -> Columns:
        return self._arrays.at(rows)


def examples_of(data: Any) -> Examples:
    """Return the examples of an experience.

    Of a data set, and of a loader that collates as torch does, only the rows that are asked for are read. Other loaders
    and lists are read whole, at the end of the experience.

    Args:
        data: inputs and targets ``(x, y)``, inputs ``x``, a data set, a ``DataLoader``, or an iterable of minibatches
            that can be read more than once.

    Raises:
        DataError: it is something else.
    """
    if isinstance(data, Tensor | np.ndarray) or (isinstance(data, tuple) and _is_pair(data)):
        return _Arrays(*split_minibatch(data))
    if isinstance(data, list) and _is_pair(data):
        raise DataError("data: a list of two arrays is ambiguous; write (x, y), or [(x,), (x,)] for two minibatches")
    if isinstance(data, DataLoader):
        return _of_loader(data)
    if isinstance(data, Dataset) and _is_map(data):
        return _MapDataset(data, range(len(data)))  # type: ignore[arg-type]
    if isinstance(data, Iterator):
        raise DataError("data: an iterator can be read only once; give the list or the loader that it comes from")
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | dict):
        return _Minibatches(data)
    raise DataError(f"data: {EXPECTED}; got {type(data).__name__}")


def _of_loader(loader: DataLoader[Any]) -> Examples:
    if not _is_map(loader.dataset) or loader.collate_fn is not default_collate or loader.batch_sampler is None:
        return _Minibatches(loader)
    with _undisturbed(loader):
        rows = sorted(row for batch in loader.batch_sampler for row in batch)  # the same in any order of the loader
    return _MapDataset(loader.dataset, rows)


def first_examples(data: Any) -> Columns:
    """Return some of the examples at once, so that a form that cannot be read is refused before the training.

    Raises:
        DataError: it cannot be read, or has no examples.
    """
    examples = examples_of(data)
    with _undisturbed(data):
        if isinstance(examples, _Minibatches):
            for batch in examples.batches:
                return split_minibatch(batch)
        elif len(examples):
            return examples.at([0])
    raise DataError("data: it has no examples")


def split_minibatch(batch: Any) -> Columns:
    """Return the inputs and targets of a minibatch ``(x, y)``, or of inputs ``x`` or ``(x,)`` alone.

    Raises:
        DataError: it is something else, or the numbers of inputs and targets differ.
    """
    if isinstance(batch, tuple | list) and len(batch) == 1:
        return split_minibatch(batch[0])
    if isinstance(batch, Tensor | np.ndarray):
        return torch.as_tensor(batch), None
    if not _is_pair(batch):
        raise DataError(f"data: {EXPECTED}; got a minibatch of type {_described(batch)}")
    inputs, targets = map(torch.as_tensor, batch)
    if not inputs.ndim or not targets.ndim or len(inputs) != len(targets):
        shapes = f"{tuple(inputs.shape)} and {tuple(targets.shape)}"
        raise DataError(f"data: expected as many targets as inputs; got shapes {shapes}")
    return inputs, targets


@contextmanager
def _undisturbed(data: Any) -> Iterator[None]:
    """Keep the state of all random generators: a data set may augment its examples, and a loader shuffles them."""
    owners = (data, getattr(data, "sampler", None))
    generators = [g for owner in owners if isinstance(g := getattr(owner, "generator", None), torch.Generator)]
    states = [generator.get_state() for generator in generators]
    with preserved_global_state():
        yield
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)


def _is_pair(value: Any) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    return all(isinstance(part, Tensor | np.ndarray) for part in value)


def _is_map(dataset: Any) -> bool:
    return not isinstance(dataset, IterableDataset) and hasattr(dataset, "__len__")


def _described(value: Any) -> str:
    inner = f" of {', '.join(type(v).__name__ for v in value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{inner}"
