"""The upper bound: everything of another stream at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.sources import LabelledArrays, UnlabelledArrays
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.types import ArraySource, Budget, Experience, Rows, Scenario, Stream

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
        train=_concatenate([(_task(e), e.arrays) for e in experiences]),
        test=_concatenate([(_task(e), e.test) for e in experiences if e.test is not None and e.test.kind == "arrays"]),
        budget=budget,
    )


def _task(experience: Experience) -> int:
    """The number of its task, which experiences that come back share."""
    return experience.index if experience.task_id is None else experience.task_id


def _concatenate(of_tasks: Sequence[tuple[int, ArraySource]]) -> ArraySource:
    of_each = torch.cat([torch.full((len(source),), task) for task, source in of_tasks])
    sources = [source for _, source in of_tasks]
    rows = _shared_rows(sources)
    if rows is not None:
        tasks = torch.zeros(len(sources[0].inputs), dtype=torch.int64)
        return sources[0].viewing(rows, tasks.index_copy_(0, rows, of_each))
    inputs: Tensor | Rows
    if any(source.streamed for source in sources):
        inputs = JoinedRows(tuple(sources))
    else:
        inputs = torch.cat([source.read()[0] for source in sources])
    labels = [source.targets for source in sources if source.targets is not None]
    return LabelledArrays(inputs, torch.cat(labels), tasks=of_each) if labels else UnlabelledArrays(inputs)


def _shared_rows(sources: Sequence[ArraySource]) -> Tensor | None:
    """The rows of all sources where they are different rows of the same inputs, which then need no copy."""
    first = sources[0]
    if any(s.inputs is not first.inputs or s.transform is not first.transform for s in sources):
        return None
    found = [s.indices for s in sources if s.indices is not None]
    rows = torch.cat(found) if len(found) == len(sources) else None
    distinct = rows is not None and int(torch.bincount(rows).max()) == 1
    return rows if distinct else None


@frozen(eq=False)
class JoinedRows:
    """The rows of several sources, one source after the other, read as they are needed."""

    sources: tuple[ArraySource, ...]

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
