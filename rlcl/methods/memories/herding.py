"""A memory of the examples whose mean features are nearest to their class's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from attrs import define, field
from torch import Tensor

from rlcl.methods.memories.memory import Memory
from rlcl.types import Batch

__all__ = ["HerdingMemory", "herding_order"]


@define(eq=False)
class HerdingMemory(Memory):
    """Keeps equally many examples of each class, in the order in which herding chose them.

    With a capacity, the classes seen share it, the first ones (by label) with one slot more where it does not
    divide: as classes come, the examples chosen first stay. Of a class that comes again, what is kept and what
    is new are chosen from together.

    Args:
        features: (B, D) of a batch.
        per_class: examples kept of each class; None where the capacity is shared by the classes seen so far.

    Source: Rebuffi et al. 2017, iCaRL, algorithms 4 and 5, after Welling 2009, Herding dynamical weights.
    """

    features: Callable[[Batch], Tensor] = field(kw_only=True)
    per_class: int | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self._columns["targets"]) if self._columns else 0

    def of_class(self, label: int) -> dict[str, Tensor]:
        """What is kept of a class, the first chosen first."""
        rows = (self._columns["targets"] == label).nonzero().flatten()
        return {name: column[rows] for name, column in self._columns.items()}

    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        old = self._columns or {name: value[:0] for name, value in columns.items()}
        new = sorted(set(columns["targets"].tolist()))
        labels = sorted({*old["targets"].tolist(), *new})
        kept: list[dict[str, Tensor]] = []
        for place, label in enumerate(labels):
            slots = self._slots(place, len(labels))
            rows = (old["targets"] == label).nonzero().flatten()
            chosen = {name: value[rows] for name, value in old.items()}
            if label in new:
                rows = (columns["targets"] == label).nonzero().flatten()
                pool = {name: torch.cat((chosen[name], value[rows])) for name, value in columns.items()}
                order = herding_order(self.features(Batch(**pool)), slots)
                chosen = {name: value[order] for name, value in pool.items()}
            kept.append({name: value[:slots] for name, value in chosen.items()})
        self._columns = {name: torch.cat([part[name] for part in kept]) for name in columns}

    def _slots(self, place: int, classes: int) -> int:
        """Of the class at that place among all; never more than before, as classes come."""
        if self.per_class is not None:
            return self.per_class
        assert self.capacity is not None
        return -(-(self.capacity - place) // classes)


def herding_order(features: Tensor, count: int) -> Tensor:
    """(K,) int64, K = min(N, count): rows of features (N, D), so that every first k have a mean near that of all.

    Source: Rebuffi et al. 2017, iCaRL, algorithm 4, without repetition.
    """
    mean = features.mean(0)
    total = torch.zeros_like(mean)
    left = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen: list[Tensor] = []
    for k in range(1, min(count, len(features)) + 1):
        distances = ((total + features) / k - mean).square().sum(1)
        best = distances.masked_fill(~left, torch.inf).argmin()
        left[best] = False
        total = total + features[best]
        chosen.append(best)
    return torch.stack(chosen) if chosen else torch.zeros(0, dtype=torch.int64, device=features.device)
