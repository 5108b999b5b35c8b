"""Memory of examples with different gradients (GSS)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from attrs import define, field
from torch import Tensor

from rlcl.methods.memories.memory import Memory
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.parameters import named_parameters
from rlcl.types import Batch, Host

__all__ = ["GssMemory", "gradients_of"]


@define(eq=False)
class GssMemory(Memory):
    """Memory of examples whose gradients differ in direction.

    The score of an item is its maximum cosine similarity to a few stored examples, plus 1; it is 1 in an empty memory.
    In a full memory, an item with a score s below 1 replaces a stored example with probability S / (S + s), where S
    is the score of an example that is sampled with probability proportional to the scores. All items of one call
    are compared with the same stored examples.

    Args:
        gradients: computes the gradients (B, P) of the loss of each example of a batch.
        compared: number of stored examples with which an item is compared.

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
            elif score < 1 and (slot := self._slot_for(score)) is not None:
                rows[slot] = row
                self._scores[slot] = score
        self._write(list(rows), list(rows.values()), columns)

    def _score(self, batch: Batch) -> Tensor:
        """Compute the scores (B,), in [0, 2]."""
        if not len(self):
            return torch.ones(len(batch.inputs))
        new, stored = self.gradients(batch), self.gradients(Batch(**self.sample(self.compared)))
        return (F.normalize(new) @ F.normalize(stored).T).amax(1).clamp(-1, 1).double() + 1

    def _slot_for(self, score: float) -> int | None:
        """Return the slot for an item with a score, or None to discard it."""
        total = self._scores.sum()
        slot = int(self.rng.choice(len(self), p=self._scores / total if total > 0 else None))
        stored = self._scores[slot]
        # If both scores are 0, the item replaces the stored example.
        return slot if self.rng.random() * (stored + score) < stored or stored + score == 0 else None

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scores": torch.from_numpy(self._scores.copy())}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        super().load_state_dict(state, device)
        self._scores = torch.as_tensor(state["scores"]).numpy().copy()


def gradients_of(host: Host, batch: Batch) -> Tensor:
    """Compute the gradients (B, P) of the host's loss on each single example, in evaluation mode."""
    assert host.loss is not None
    parameters = list(named_parameters(host, host.primary).values())
    gradients = []
    with evaluation_mode(host.modules[host.primary], gradients=True):
        for row in range(len(batch.inputs)):
            single = Batch(*[None if column is None else column[row : row + 1] for column in batch])  # type: ignore[arg-type]
            parts = torch.autograd.grad(host.loss(single), parameters, allow_unused=True)
            flat = [
                p.new_zeros(p.numel()) if g is None else g.flatten() for p, g in zip(parameters, parts, strict=True)
            ]
            gradients.append(torch.cat(flat))
    return torch.stack(gradients)
