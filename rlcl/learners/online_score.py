"""Online score: the mean score of predictions for training examples before the update that uses them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor, nn

__all__ = ["OnlineScore", "count_trainable"]


@define(eq=False)
class OnlineScore:
    """Mean of online scores over a part of the stream, and the number of training samples over the whole stream.

    Scores are accumulated on the device, so that adding does not wait for it.

    Args:
        device: torch device.
    """

    device: str
    samples: int = field(init=False, default=0)  # training samples used so far, over the whole stream
    _sum: Tensor = field(init=False, default=None)
    _count: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Reset the mean for a new part of the stream."""
        self._sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self._count = 0

    def add(self, scores: Tensor) -> None:
        """Add the scores (S,) of examples."""
        self._sum += scores.sum()
        self._count += len(scores)

    @property
    def mean(self) -> float | None:
        """Mean score over the part in progress, or just finished; None without scores."""
        return float(self._sum) / self._count if self._count else None

    def state_dict(self) -> dict[str, Any]:
        return {"samples": self.samples, "sum": self._sum, "scored": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.samples, self._sum, self._count = state["samples"], state["sum"].to(self.device), state["scored"]


def count_trainable(modules: Iterable[nn.Module]) -> int:
    """Return the number of trainable parameters of several modules; shared parameters count once."""
    return sum(p.numel() for p in {p: None for m in modules for p in m.parameters()} if p.requires_grad)
