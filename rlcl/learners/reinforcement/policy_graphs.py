"""Inference graphs of policies, for export."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rlcl.learners.reinforcement.recurrent import RecurrentNetwork
from rlcl.types import Encoder, Graph

__all__ = ["Decide", "Scores", "policy_graph"]

Decide = Callable[[Tensor], Tensor]
Scores = Callable[[Tensor], Tensor | None]


class PolicyModule(nn.Module):
    """Encoder, network and decision rule of a policy without a recurrent state.

    Args:
        encoder: a fitted encoder.
        network: maps encoded observations to outputs (B, K).
        decide: maps outputs to actions.
    """

    def __init__(self, encoder: Encoder, network: nn.Module, decide: Decide) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        self._encoder, self._decide = encoder, decide

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Return the action and the next states for observations and states."""
        outputs, next_state = self.outputs(arrays)
        return (self._decide(outputs), *next_state)

    def encoded(self, *arrays: Tensor) -> Tensor:
        return self._encoder.encode(arrays[0])

    def outputs(self, arrays: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return outputs (B, K) and the next states."""
        return self.network(self.encoded(*arrays)), ()


class RecurrentPolicyModule(PolicyModule):
    """Encoder, network and decision rule of a recurrent policy, whose states are ``hidden`` and ``cell``."""

    network: RecurrentNetwork

    def outputs(self, arrays: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs, state = self.network.step(self.encoded(*arrays), torch.stack(arrays[-2:]))
        return outputs, (state[0], state[1])


def policy_graph(encoder: Encoder, network: nn.Module, decide: Decide, scores: Scores | None = None) -> Graph:
    """Build the inference graph of a policy.

    Args:
        encoder: a fitted encoder.
        network: maps encoded observations to outputs (B, K).
        decide: maps outputs to greedy actions (B, *action) in the environment's action space.
        scores: maps outputs to scores (B, ..., K) of discrete actions, whose maximum is the action; None for continuous
            actions.
    """
    recurrent = isinstance(network, RecurrentNetwork)
    module = (RecurrentPolicyModule if recurrent else PolicyModule)(encoder, network, decide)
    return Graph(
        kind="policy",
        module=module,
        state={"hidden": network.size, "cell": network.size} if isinstance(network, RecurrentNetwork) else {},
        encoded=module.encoded,
        scores=None if scores is None else lambda *arrays: scores(module.outputs(arrays)[0]),
    )
