"""Experiences that overlap: some of each one's data comes with the others."""

from __future__ import annotations

import attrs
import torch
from attrs import frozen

from rlcl.config import option
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.types import Budget, Scenario, Stream

__all__ = ["Blurry"]


@frozen(kw_only=True)
class Blurry:
    """Spreads a share of each experience's training data evenly over the other experiences.

    The task id of a moved sample is that of the experience it moved to; test sets stay as they are.

    Args:
        of: the stream whose boundaries are blurred.
        share: of each experience's training data that moves, chosen by the run's seed.

    Source: Bang et al. 2021, Rainbow memory, blurry-M with M = 100 * share.
    """

    of: Scenario = option(factory=ClassIncremental)
    share: float = option(0.1, ge=0, lt=1)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        stream = self.of.make(seeds, budget)
        if stream.spec.kind == "environment" or any(e.arrays.transform is not None for e in stream):
            raise Problem("of: only subsets of one data set can be blurred, such as class_incremental")
        sources = [e.arrays for e in stream]
        kept, given = list[torch.Tensor](), [list[torch.Tensor]() for _ in sources]
        for index, source in enumerate(sources):
            rows = torch.arange(len(source)) if source.indices is None else source.indices
            order = rows[torch.from_numpy(seeds.child(f"blur {index}").numpy().permutation(len(rows)))]
            moving = round(self.share * len(rows)) if len(sources) > 1 else 0
            kept.append(order[moving:])
            others = [i for i in range(len(sources)) if i != index]
            for other, part in zip(others, torch.tensor_split(order[:moving], max(len(others), 1)), strict=False):
                given[other].append(part)
        mixed = [torch.cat([k, *g]).sort().values for k, g in zip(kept, given, strict=True)]
        pairs = zip(stream, mixed, strict=True)
        return stream.changed(experiences=tuple(attrs.evolve(e, train=e.arrays.viewing(rows)) for e, rows in pairs))
