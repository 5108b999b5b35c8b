"""The upper bound: everything of another stream at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import evolve, frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.sources import LabelledArrays, UnlabelledArrays
from rlcl.data.storage import Rows
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.stream import Stream
from rlcl.types import Budget, Experience, Scenario

__all__ = ["Joint"]


@frozen(kw_only=True)
class Joint:
    """Trains on all experiences of a stream together and is evaluated on each: R has one row.

    Args:
        of: the stream whose upper bound this is.
    """

    of: Scenario = option(factory=ClassIncremental)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        if stream.spec.kind == "environment":
            raise Problem("of: environments cannot be joined into one source; list them as tasks instead")
        return stream.arranged(lambda experiences: (joined(experiences, budget),))


def joined(experiences: Sequence[Experience], budget: Budget) -> Experience:
    """One experience that trains on all of them; each row keeps its task."""
    return Experience(
        index=0,
        name="joint",
        train=_concatenate([e.train for e in experiences]),
        test=_concatenate([e.test for e in experiences]),
        budget=budget,
    )


def _concatenate(sources: Sequence[object]) -> LabelledArrays | UnlabelledArrays:
    arrays = [s for s in sources if isinstance(s, LabelledArrays | UnlabelledArrays)]
    labels = [s.targets for s in arrays if isinstance(s, LabelledArrays)]
    of_each = torch.cat([torch.full((len(source),), task) for task, source in enumerate(arrays)])
    rows = _shared_rows(arrays)
    if rows is not None:
        first = arrays[0]
        if isinstance(first, UnlabelledArrays):
            return evolve(first, indices=rows)
        tasks = torch.zeros(len(first.inputs), dtype=torch.int64)
        return evolve(first, indices=rows, tasks=tasks.index_copy_(0, rows, of_each))
    inputs: Tensor | Rows
    if any(source.streamed for source in arrays):
        inputs = JoinedRows(tuple(arrays))
    else:
        inputs = torch.cat([source.read()[0] for source in arrays])
    return LabelledArrays(inputs, torch.cat(labels), tasks=of_each) if labels else UnlabelledArrays(inputs)


def _shared_rows(arrays: Sequence[LabelledArrays | UnlabelledArrays]) -> Tensor | None:
    """The rows of all sources where they are different rows of the same inputs, which then need no copy."""
    first = arrays[0]
    if any(s.inputs is not first.inputs or s.transform is not first.transform for s in arrays):
        return None
    found = [s.indices for s in arrays if s.indices is not None]
    rows = torch.cat(found) if len(found) == len(arrays) else None
    distinct = rows is not None and int(torch.bincount(rows).max()) == 1
    return rows if distinct else None


@frozen(eq=False)
class JoinedRows:
    """The rows of several sources, one source after the other, read as they are needed."""

    sources: tuple[LabelledArrays | UnlabelledArrays, ...]

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), *self.sources[0].inputs.shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        return self.sources[0].inputs.dtype

    @property
    def workers(self) -> int:
        return max(source.workers for source in self.sources)

    @property
    def identity(self) -> str:
        return "\n".join(s.inputs.identity for s in self.sources if not isinstance(s.inputs, Tensor))

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """(B, *observation) of rows (B,) int64."""
        ends = torch.tensor([len(source) for source in self.sources]).cumsum(0)
        owners = torch.searchsorted(ends, rows, right=True)
        read = torch.empty(len(rows), *self.shape[1:], dtype=self.dtype)
        for place, source in enumerate(self.sources):
            chosen = (owners == place).nonzero().flatten()
            if len(chosen):
                read[chosen] = source.subset(rows[chosen] - (int(ends[place]) - len(source))).read()[0]
        return read
