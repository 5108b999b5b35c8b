"""Actor-critic network, its forward and backward passes, its initialization."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlcl.learners.fast.backprop import ChainPasses, Passes
from rlcl.networks.task_ids import call_network, takes_task_ids

__all__ = ["ActorCritic", "ActorCriticPasses", "scale_orthogonal"]


class ActorCritic(nn.Module):
    """An actor and a critic, or a shared network, with the state-independent parameters of the distribution.

    Args:
        actor: maps (B, *encoded) to (B, K), or to (B, K + 1) if shared: the last output is the value.
        critic: maps (B, *encoded) to (B, 1); None if the actor is shared.
        free: (F,) parameters of the distribution that do not depend on the state; None if it has none.
    """

    def __init__(self, actor: nn.Module, critic: nn.Module | None, free: nn.Parameter | None) -> None:
        super().__init__()
        self.actor = actor
        self.critic = critic
        self.free = free

    @property
    def side_by_side(self) -> tuple[nn.Module, ...]:
        """Networks with separate heads: the actor, and the critic unless the actor is shared."""
        return (self.actor,) if self.critic is None else (self.actor, self.critic)

    @property
    def takes_task_ids(self) -> bool:
        """See :func:`rlcl.networks.task_ids.takes_task_ids`."""
        return any(map(takes_task_ids, self.side_by_side))

    def forward(self, x: Tensor, *task_ids: Tensor) -> Tensor:
        """Return the actor's outputs (B, K)."""
        outputs: Tensor = self.actor(x, *task_ids)
        return outputs[:, :-1] if self.critic is None else outputs

    def outputs_and_values(self, x: Tensor, task_ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the actor's outputs (B, K) and values (B,)."""
        *outputs, last = [call_network(network, x, task_ids) for network in self.side_by_side]
        return (outputs[0] if outputs else last[:, :-1]), last[:, -1]


class ActorCriticPasses:
    """Forward and backward passes of actor and critic; see :class:`rlcl.learners.fast.backprop.Passes`.

    Args:
        networks: passes of the networks in :attr:`ActorCritic.side_by_side`.
    """

    def __init__(self, networks: Sequence[Passes]) -> None:
        self._networks = networks

    @property
    def mode_independent(self) -> bool:
        """Whether training and evaluation mode are the same; switching modes takes as long as a forward pass."""
        return all(isinstance(network, ChainPasses) for network in self._networks)

    def forward(self, x: Tensor, task_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the actor's outputs (..., B, K) and values (..., B)."""
        *outputs, last = [network.forward(x, task_ids) for network in self._networks]
        return (outputs[0] if outputs else last[..., :-1]), last[..., -1]

    def backward(self, by_outputs: Tensor, by_values: Tensor) -> None:
        """Backpropagate derivatives of a loss to the weights of the last forward pass.

        Args:
            by_outputs: (..., B, K) derivative by the actor's outputs.
            by_values: (..., B) derivative by the values.
        """
        parts = [by_outputs, by_values[..., None]]
        if len(self._networks) == 1:
            parts = [torch.cat(parts, -1)]
        for network, part in zip(self._networks, parts, strict=True):
            network.backward(part)


def scale_orthogonal(module: nn.Module, last: Sequence[float]) -> None:
    """Scale orthogonally initialized weights in place; other layers are unchanged.

    Args:
        module: network; its orthogonal layers are multiplied by sqrt 2, except for the last one.
        last: gain of each output of the last layer.

    Source: Huang et al. 2022, detail 2.
    """
    layers = [m for m in module.modules() if getattr(m, "initialization", None) == "orthogonal"]
    with torch.no_grad():
        for layer in layers:
            heads = layer is layers[-1] and len(last) == len(layer.weight)  # type: ignore[arg-type]
            layer.weight.mul_(torch.tensor(last)[:, None] if heads else math.sqrt(2))  # type: ignore[operator]
