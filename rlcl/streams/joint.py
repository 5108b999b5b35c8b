"""Joint training on all experiences of a stream: the upper bound of continual learning."""

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
    """Joint training on all experiences of a stream at once, evaluated on each. The result matrix R has one row.

    Args:
        of: stream whose experiences are joined.
        experiences: number of experiences that are joined and evaluated, from the first one on; null for all of them.
    """

    of: Scenario = option(factory=ClassIncremental)
    experiences: int | None = option(None, ge=1)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        if stream.spec.kind == "environment":
            raise Problem("of: environments cannot be joined into one source; list them as tasks instead")
        if self.experiences is not None:
            stream = stream[: self.experiences]
        return stream.arranged(lambda experiences: (join_experiences(experiences, budget),))


def join_experiences(experiences: Sequence[Experience], budget: Budget) -> Experience:
    """Return one experience with the data of all experiences; each row keeps its task id."""
    test_sources = [(e, e.test) for e in experiences]
    return Experience(
        index=0,
        name="joint",
        train=_concatenate([(_task_id(e), e.arrays) for e in experiences]),
        test=_concatenate([(_task_id(e), t) for e, t in test_sources if t is not None and t.kind == "arrays"]),
        budget=budget,
    )


def _task_id(experience: Experience) -> int:
    """Return the task id, or the index of the experience if it has none; repeated experiences share a task id."""
    return experience.index if experience.task_id is None else experience.task_id


def _concatenate(sources_by_task: Sequence[tuple[int, ArraySource]]) -> ArraySource:
    row_tasks = torch.cat([torch.full((len(source),), task) for task, source in sources_by_task])
    sources = [source for _, source in sources_by_task]
    rows = _shared_rows(sources)
    if rows is not None:
        tasks = torch.zeros(len(sources[0].inputs), dtype=torch.int64)
        return sources[0].viewing(rows, tasks.index_copy_(0, rows, row_tasks))
    inputs: Tensor | Rows
    if any(source.streamed for source in sources):
        inputs = JoinedRows(tuple(sources))
    else:
        inputs = torch.cat([source.read()[0] for source in sources])
    labels = [source.targets for source in sources if source.targets is not None]
    return LabelledArrays(inputs, torch.cat(labels), tasks=row_tasks) if labels else UnlabelledArrays(inputs)


def _shared_rows(sources: Sequence[ArraySource]) -> Tensor | None:
    """Return the row indices of all sources if they are distinct rows of the same inputs, so that no copy is needed."""
    first = sources[0]
    if any(s.inputs is not first.inputs or s.transform is not first.transform for s in sources):
        return None
    indices = [s.indices for s in sources if s.indices is not None]
    rows = torch.cat(indices) if len(indices) == len(sources) else None
    distinct = rows is not None and int(torch.bincount(rows).max()) == 1
    return rows if distinct else None


@frozen(eq=False)
class JoinedRows:
    """Concatenated rows of several sources, read on demand.

    Args:
        sources: sources in the order of their rows.
    """

    sources: tuple[ArraySource, ...]

    @property
    def shape(self) -> torch.Size:
        """(N, *observation)."""
        return torch.Size((len(self), *self.sources[0].inputs.shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the inputs."""
        return self.sources[0].inputs.dtype

    @property
    def workers(self) -> int:
        """Number of processes that read minibatches."""
        return max(source.workers for source in self.sources)

    @property
    def identity(self) -> str:
        """Identities of the sources' rows, one per line."""
        return "\n".join(s.inputs.identity for s in self.sources if not isinstance(s.inputs, Tensor))

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Read rows, given by indices (B,) int64, to (B, *observation)."""
        ends = torch.tensor([len(source) for source in self.sources]).cumsum(0)
        source_indices = torch.searchsorted(ends, rows, right=True)
        inputs = torch.empty(len(rows), *self.shape[1:], dtype=self.dtype)
        for index, source in enumerate(self.sources):
            selected = (source_indices == index).nonzero().flatten()
            if len(selected):
                inputs[selected] = source.subset(rows[selected] - (int(ends[index]) - len(source))).read()[0]
        return inputs
