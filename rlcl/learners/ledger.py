"""What a learner has drawn, and how well it predicted each example before the update that it served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor, nn

__all__ = ["Ledger", "trainable"]


@define(eq=False)
class Ledger:
    """Counts on the device, so that adding to it never waits for one.

    Args:
        device: a torch device.
    """

    device: str
    samples: int = field(init=False, default=0)  # over the whole stream
    _sum: Tensor = field(init=False, default=None)
    _scored: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begins a new part of the stream."""
        self._sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self._scored = 0

    def score(self, scores: Tensor) -> None:
        """Adds scores (S,) of examples."""
        self._sum += scores.sum()
        self._scored += len(scores)

    @property
    def mean(self) -> float | None:
        """Of the scores of the part in progress, or just ended; None without any."""
        return float(self._sum) / self._scored if self._scored else None

    def state_dict(self) -> dict[str, Any]:
        return {"samples": self.samples, "sum": self._sum, "scored": self._scored}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.samples, self._sum, self._scored = state["samples"], state["sum"].to(self.device), state["scored"]


def trainable(modules: Iterable[nn.Module]) -> int:
    """How many trainable numbers some modules have together; what they share counts once."""
    return sum(p.numel() for p in {p: None for m in modules for p in m.parameters()} if p.requires_grad)
