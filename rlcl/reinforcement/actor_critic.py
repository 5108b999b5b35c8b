"""Networks that act and judge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["ActorCritic", "scale_orthogonal"]


class ActorCritic(nn.Module):
    """A network for actions and one for values, or one for both, and what the distribution has beside them.

    Args:
        actor: (B, *encoded) to (B, K), or to (B, K + 1) where the values are its last outputs.
        critic: (B, *encoded) to (B, 1); None for the actor's last output.
        free: (F,), None for none.
    """

    def __init__(self, actor: nn.Module, critic: nn.Module | None, free: nn.Parameter | None) -> None:
        super().__init__()
        self.actor = actor
        self.critic = critic
        self.free = free

    @property
    def side_by_side(self) -> tuple[nn.Module, ...]:
        """The networks, each with a head of its own."""
        return (self.actor,) if self.critic is None else (self.actor, self.critic)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K) outputs for actions, and (B,) values."""
        outputs: Tensor = self.actor(x)
        if self.critic is None:
            return outputs[:, :-1], outputs[:, -1]
        return outputs, self.critic(x)[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) outputs for actions."""
        outputs: Tensor = self.actor(x)
        return outputs[:, :-1] if self.critic is None else outputs


def scale_orthogonal(module: nn.Module, last: Sequence[float]) -> None:
    """Multiplies orthogonal weights by sqrt 2, and those of the last layer by a gain an output; others stay.

    Source: Huang et al. 2022, detail 2.
    """
    layers = [m for m in module.modules() if getattr(m, "initialization", None) == "orthogonal"]
    with torch.no_grad():
        for layer in layers:
            heads = layer is layers[-1] and len(last) == len(layer.weight)  # type: ignore[arg-type]
            layer.weight.mul_(torch.tensor(last)[:, None] if heads else math.sqrt(2))  # type: ignore[operator]
