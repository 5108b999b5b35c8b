"""The graph that a learner says it predicts with, held against what its stream asks for."""

from __future__ import annotations

from typing import Any

import attrs
import gymnasium as gym
import torch
from torch import Tensor, nn

from rlcl.deploy.exporting.flattening import Flattening, flattening
from rlcl.errors import UnsupportedError
from rlcl.registry import name_of
from rlcl.types import Exportable, Graph, Stream

__all__ = ["WithEncoded", "array_graph", "check_outputs", "policy_graph", "scores"]


class WithEncoded(nn.Module):
    """A graph that gives what its encoder makes of the inputs as one more output, flat: ``encoded``, (B, F).

    It is computed twice in the graph, of which ONNX Runtime makes once.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph.module
        self._encoded = graph.encoded

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """See :class:`rlcl.types.Graph`."""
        encoded = None if self._encoded is None else self._encoded(*arrays)
        found: tuple[Tensor, ...] = self.graph(*arrays)
        return found if encoded is None else (*found, encoded.flatten(1))


def array_graph(learner: Any, stream: Stream) -> Graph:
    """The graph of a learner that learned from arrays.

    Raises:
        UnsupportedError: no graph holds what it predicts with, or it predicts otherwise than arrays ask for.
    """
    shown = [e.task_id for e in stream.evaluated if e.task_id is not None] if stream.visibility.at_evaluation else []
    graph = _said(learner, max(shown, default=-1) + 1)
    if graph.kind == "policy":
        raise _refused(learner, "its graph is a policy, and it learned from arrays; expected another kind")
    return graph


def policy_graph(learner: Any, flat: gym.Space[Any] | None) -> Graph:
    """The graph of a learner that acts.

    Args:
        learner: with its state loaded.
        flat: the space of observations that it is given flattened into one vector; None where as they are.

    Raises:
        UnsupportedError: no graph holds what it acts with, or it is no policy.
    """
    graph = _said(learner, 0)
    if graph.kind != "policy":
        raise _refused(learner, f"its graph is a {graph.kind}, and it learned in environments; expected a policy")
    if flat is None:
        return graph
    return attrs.evolve(
        graph,
        module=Flattening(graph.module, flat),
        encoded=graph.encoded and flattening(graph.encoded, flat),
        scores=graph.scores and flattening(graph.scores, flat),
    )


def scores(graph: Graph, arrays: list[Tensor]) -> Tensor | None:
    """(B, ..., K) what decides between classes or discrete actions; None where numbers are predicted."""
    if graph.scores is not None:
        return graph.scores(*arrays)
    return graph(*arrays)[1] if graph.kind == "classifier" else None


def check_outputs(learner: Any, graph: Graph, example: list[Tensor]) -> tuple[Tensor, ...]:
    """What a graph makes of a few rows, which must be what its kind says.

    Args:
        learner: whose it is.
        graph: of it.
        example: inputs, task ids and states (B, ...).

    Raises:
        UnsupportedError: other outputs, or other than one a row.
    """
    names = [*graph.outputs, *(f"the next {name}" for name in graph.state)]
    with torch.no_grad():
        found = graph(*example)
    if not isinstance(found, tuple) or len(found) != len(names):
        got = f"a tuple of {len(found)}" if isinstance(found, tuple) else f"a {type(found).__name__}"
        raise _refused(learner, f"its graph must give a tuple of {len(names)} ({', '.join(names)}), and gave {got}")
    for name, part in zip(names, found, strict=True):
        if part.ndim == 0 or len(part) != len(example[0]):
            shape = tuple(part.shape)
            raise _refused(
                learner, f"its graph must give {name} row by row, and gave {shape} of {len(example[0])} rows"
            )
    return found


def _said(learner: Any, tasks: int) -> Graph:
    if not isinstance(learner, Exportable):
        raise _refused(
            learner,
            "it does not say what graph it predicts with; derive its class from rlcl.types.Learner and write its "
            "method graph (docs/how-to/add-a-learner.md)",
        )
    try:
        return learner.graph(tasks)
    except UnsupportedError as error:
        raise _refused(learner, str(error)) from error


def _refused(learner: Any, reason: str) -> UnsupportedError:
    return UnsupportedError(f"learner {name_of('learner', learner)} cannot be exported: {reason}")
