"""A memory of examples whose gradients differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from torch import Tensor

from rlcl.methods.memories.memory import Memory
from rlcl.methods.parts.modes import evaluating
from rlcl.methods.parts.parameters import named_parameters
from rlcl.types import Batch, Host

__all__ = ["GssMemory", "gradients_of"]


@define(eq=False)
class GssMemory(Memory):
    """Keeps examples whose gradients point away from those of the others.

    An item's score is its greatest cosine similarity to a few that are kept, plus 1: 1 where there are none.
    In a full memory, an item of a score below 1 takes the place of one drawn by its score S, with probability
    S / (S + its own score). All items of one call are compared with the same few.

    Args:
        gradients: (B, P) of the loss of each example of a batch.
        compared: how many of those kept an item is compared with.

    Source: Aljundi et al. 2019, Gradient based sample selection for online continual learning, algorithm 2.
    """

    gradients: Callable[[Batch], Tensor] = field(kw_only=True)
    compared: int = field(kw_only=True)
    _scores: np.ndarray[Any, Any] = field(init=False, factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self._scores)

    def _insert(self, count: int, columns: Mapping[str, Tensor]) -> None:
        assert self.capacity is not None
        self._allocate(self.capacity, columns)
        scores = self._score(Batch(**columns)).tolist()
        rows: dict[int, int] = {}
        for row, score in enumerate(scores):
            if len(self) < self.capacity:
                rows[len(self)] = row
                self._scores = np.append(self._scores, score)
            elif score < 1 and (slot := self._replaced(score)) is not None:
                rows[slot] = row
                self._scores[slot] = score
        self._write(list(rows), list(rows.values()), columns)

    def _score(self, batch: Batch) -> Tensor:
        """(B,) in [0, 2]."""
        if not len(self):
            return torch.ones(len(batch.inputs))
        new, kept = self.gradients(batch), self.gradients(Batch(**self.draw(self.compared)))
        return (F.normalize(new) @ F.normalize(kept).T).amax(1).clamp(-1, 1).double() + 1

    def _replaced(self, score: float) -> int | None:
        """The slot that an item of that score takes, None where it is not kept."""
        total = self._scores.sum()
        slot = int(self.rng.choice(len(self), p=self._scores / total if total > 0 else None))
        own = self._scores[slot]
        # Two scores of 0 are equally good.
        return slot if self.rng.random() * (own + score) < own or own + score == 0 else None

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scores": self._scores}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        super().load_state_dict(state, device)
        self._scores = np.array(state["scores"])


def gradients_of(host: Host, batch: Batch) -> Tensor:
    """(B, P) gradients of the host's loss on each example alone, in evaluation mode."""
    assert host.loss is not None
    parameters = list(named_parameters(host, host.primary).values())
    found = []
    with evaluating(host.modules[host.primary], gradients=True):
        for row in range(len(batch.inputs)):
            one = Batch(*[None if column is None else column[row : row + 1] for column in batch])  # type: ignore[arg-type]
            parts = torch.autograd.grad(host.loss(one), parameters, allow_unused=True)
            flat = [
                p.new_zeros(p.numel()) if g is None else g.flatten() for p, g in zip(parameters, parts, strict=True)
            ]
            found.append(torch.cat(flat))
    return torch.stack(found)
