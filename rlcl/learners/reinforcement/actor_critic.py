"""Networks that act and judge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlcl.learners.fast.backprop import Chain, Passes

__all__ = ["ActorCritic", "ActorCriticPasses", "scale_orthogonal"]


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
        """Each with a head of its own: the actor, and the critic where it is another."""
        return (self.actor,) if self.critic is None else (self.actor, self.critic)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) outputs for actions."""
        outputs: Tensor = self.actor(x)
        return outputs[:, :-1] if self.critic is None else outputs


class ActorCriticPasses:
    """The passes of both at once; see :class:`rlcl.learners.fast.backprop.Passes`.

    Args:
        networks: those of :attr:`ActorCritic.side_by_side`.
    """

    def __init__(self, networks: Sequence[Passes]) -> None:
        self._networks = networks

    @property
    def modeless(self) -> bool:
        """Whether it is the same to them if a network trains or predicts: it takes as long to say as to act."""
        return all(isinstance(network, Chain) for network in self._networks)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., B, K) outputs for actions, and (..., B) values."""
        *outputs, last = [network.forward(x) for network in self._networks]
        return (outputs[0] if outputs else last[..., :-1]), last[..., -1]

    def backward(self, by_outputs: Tensor, by_values: Tensor) -> None:
        """From the derivative of a loss by what the last pass gave to that by the weights."""
        parts = [by_outputs, by_values[..., None]]
        if len(self._networks) == 1:
            parts = [torch.cat(parts, -1)]
        for network, part in zip(self._networks, parts, strict=True):
            network.backward(part)


def scale_orthogonal(module: nn.Module, last: Sequence[float]) -> None:
    """Multiplies orthogonal weights by sqrt 2, and those of the last layer by a gain an output; others stay.

    Source: Huang et al. 2022, detail 2.
    """
    layers = [m for m in module.modules() if getattr(m, "initialization", None) == "orthogonal"]
    with torch.no_grad():
        for layer in layers:
            heads = layer is layers[-1] and len(last) == len(layer.weight)  # type: ignore[arg-type]
            layer.weight.mul_(torch.tensor(last)[:, None] if heads else math.sqrt(2))  # type: ignore[operator]
