"""Graphs of learners that act, for export."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rlcl.learners.reinforcement.recurrent import Remembering
from rlcl.types import Encoder, Graph

__all__ = ["policy_graph"]

Decide = Callable[[Tensor], Tensor]
Scores = Callable[[Tensor], Tensor | None]


class PolicyModule(nn.Module):
    """A network behind the encoder, and what makes actions of its outputs; without a state.

    Args:
        encoder: fitted.
        network: from encoded observations to outputs, (B, K).
        decide: from outputs to actions.
    """

    def __init__(self, encoder: Encoder, network: nn.Module, decide: Decide) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        self._encoder, self._decide = encoder, decide

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Of observations and states, the action and the next states."""
        outputs, following = self.outputs(arrays)
        return (self._decide(outputs), *following)

    def encoded(self, *arrays: Tensor) -> Tensor:
        return self._encoder.encode(arrays[0])

    def outputs(self, arrays: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(B, K), and the next states."""
        return self.network(self.encoded(*arrays)), ()


class RememberingModule(PolicyModule):
    """The same of a network that remembers; its states are ``hidden`` and ``cell``."""

    network: Remembering

    def outputs(self, arrays: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs, state = self.network.step(self.encoded(*arrays), torch.stack(arrays[-2:]))
        return outputs, (state[0], state[1])


def policy_graph(encoder: Encoder, network: nn.Module, decide: Decide, scores: Scores | None = None) -> Graph:
    """The graph of a policy.

    Args:
        encoder: fitted.
        network: that acts, from encoded observations to outputs (B, K).
        decide: from outputs to greedy actions (B, *action), as the environment takes them.
        scores: from outputs to what decides between discrete actions (B, ..., K); None where they are numbers.
    """
    remembers = isinstance(network, Remembering)
    module = (RememberingModule if remembers else PolicyModule)(encoder, network, decide)
    return Graph(
        kind="policy",
        module=module,
        state={"hidden": network.size, "cell": network.size} if isinstance(network, Remembering) else {},
        encoded=module.encoded,
        scores=None if scores is None else lambda *arrays: scores(module.outputs(arrays)[0]),
    )
