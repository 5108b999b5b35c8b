"""Memory of the examples whose mean features approximate the mean features of their class (herding)."""

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
    """Memory of the same number of examples of each class, in the order of their selection by herding.

    A capacity is shared by the classes seen. If it is not divisible, the first classes (by label) have one
    slot more. When the number of classes grows, the examples selected first remain. For a class that recurs, the
    selection is repeated among its stored and its new examples.

    Args:
        features: computes the features (B, D) of a batch.
        per_class: examples stored of each class; None if the classes seen so far share the capacity.

    Source: Rebuffi et al. 2017, iCaRL, algorithms 4 and 5, after Welling 2009, Herding dynamical weights.
    """

    features: Callable[[Batch], Tensor] = field(kw_only=True)
    per_class: int | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self._columns["targets"]) if self._columns else 0

    def of_class(self, label: int) -> dict[str, Tensor]:
        """Return the stored examples of a class, in the order of their selection."""
        rows = (self._columns["targets"] == label).nonzero().flatten()
        return {name: column[rows] for name, column in self._columns.items()}

    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        old = self._columns or {name: value[:0] for name, value in columns.items()}
        new = sorted(set(columns["targets"].tolist()))
        labels = sorted({*old["targets"].tolist(), *new})
        parts: list[dict[str, Tensor]] = []
        for index, label in enumerate(labels):
            slots = self._slots(index, len(labels))
            rows = (old["targets"] == label).nonzero().flatten()
            selected = {name: value[rows] for name, value in old.items()}
            if label in new:
                rows = (columns["targets"] == label).nonzero().flatten()
                pool = {name: torch.cat((selected[name], value[rows])) for name, value in columns.items()}
                order = herding_order(self.features(Batch(**pool)), slots)
                selected = {name: value[order] for name, value in pool.items()}
            parts.append({name: value[:slots] for name, value in selected.items()})
        self._columns = {name: torch.cat([part[name] for part in parts]) for name in columns}

    def _slots(self, index: int, classes: int) -> int:
        """Return the number of slots of the class with this index; it never increases with the number of classes."""
        if self.per_class is not None:
            return self.per_class
        assert self.capacity is not None
        return -(-(self.capacity - index) // classes)


def herding_order(features: Tensor, count: int) -> Tensor:
    """Select rows of features (N, D) so that the mean of the first k approximates the mean of all, for each k.

    Returns:
        Indices (K,) int64, K = min(N, count).

    Source: Rebuffi et al. 2017, iCaRL, algorithm 4, without repetition.
    """
    mean = features.mean(0)
    total = torch.zeros_like(mean)
    available = torch.ones(len(features), dtype=torch.bool, device=features.device)
    selected: list[Tensor] = []
    for k in range(1, min(count, len(features)) + 1):
        distances = ((total + features) / k - mean).square().sum(1)
        best = distances.masked_fill(~available, torch.inf).argmin()
        available[best] = False
        total = total + features[best]
        selected.append(best)
    return torch.stack(selected) if selected else torch.zeros(0, dtype=torch.int64, device=features.device)
