"""Inference graphs of learners, with checks of their kind and outputs."""

from __future__ import annotations

from typing import Any

import attrs
import gymnasium as gym
import torch
from torch import Tensor, nn

from rlcl.deploy.exporting.observation_flattening import FlattenObservations, with_flattening
from rlcl.errors import UnsupportedError
from rlcl.registry import name_of
from rlcl.types import Exportable, Graph, Stream

__all__ = ["WithEncoded", "array_graph", "check_outputs", "decision_scores", "policy_graph"]


class WithEncoded(nn.Module):
    """Graph with the flattened output of its encoder as an additional output ``encoded``, (B, F).

    The encoder occurs twice in the graph; ONNX Runtime merges the two.

    Args:
        graph: inference graph of a learner.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph.module
        self._encoded = graph.encoded

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of :class:`rlcl.types.Graph`, followed by ``encoded`` if the graph has an encoder."""
        encoded = None if self._encoded is None else self._encoded(*arrays)
        outputs: tuple[Tensor, ...] = self.graph(*arrays)
        return outputs if encoded is None else (*outputs, encoded.flatten(1))


def array_graph(learner: Any, stream: Stream) -> Graph:
    """Return the inference graph of a learner that was trained on arrays.

    Raises:
        UnsupportedError: the learner has no inference graph, or its graph is a policy.
    """
    visible = [e.task_id for e in stream.evaluated if e.task_id is not None] if stream.visibility.at_evaluation else []
    graph = _learner_graph(learner, max(visible, default=-1) + 1)
    if graph.kind == "policy":
        raise _not_exportable(
            learner,
            "its graph is of the kind policy, but it was trained on arrays; expected classifier, "
            "regressor or autoencoder",
        )
    return graph


def policy_graph(learner: Any, flat: gym.Space[Any] | None) -> Graph:
    """Return the inference graph of a reinforcement learner.

    Args:
        learner: learner with its state loaded.
        flat: observation space, if the learner receives observations flattened into one vector; None otherwise.

    Raises:
        UnsupportedError: the learner has no inference graph, or its graph is not a policy.
    """
    graph = _learner_graph(learner, 0)
    if graph.kind != "policy":
        raise _not_exportable(
            learner, f"its graph is of the kind {graph.kind}, but it was trained in environments; expected policy"
        )
    if flat is None:
        return graph
    return attrs.evolve(
        graph,
        module=FlattenObservations(graph.module, flat),
        encoded=graph.encoded and with_flattening(graph.encoded, flat),
        scores=graph.scores and with_flattening(graph.scores, flat),
    )


def decision_scores(graph: Graph, arrays: list[Tensor]) -> Tensor | None:
    """Return the scores (B, ..., K) that decide between classes or discrete actions; None for numeric outputs."""
    if graph.scores is not None:
        return graph.scores(*arrays)
    return graph(*arrays)[1] if graph.kind == "classifier" else None


def check_outputs(learner: Any, graph: Graph, example: list[Tensor]) -> tuple[Tensor, ...]:
    """Compute the outputs of a graph for a few rows, and check their number and first dimension.

    Args:
        learner: learner of the graph, for messages.
        graph: inference graph.
        example: inputs, task ids and states (B, ...).

    Raises:
        UnsupportedError: the number of outputs differs from that of the graph's kind, or an output does not have one
            entry per row.
    """
    names = [*graph.outputs, *(f"the next {name}" for name in graph.state)]
    with torch.no_grad():
        outputs = graph(*example)
    if not isinstance(outputs, tuple) or len(outputs) != len(names):
        got = f"a tuple of {len(outputs)}" if isinstance(outputs, tuple) else f"a {type(outputs).__name__}"
        raise _not_exportable(
            learner, f"its graph must return a tuple of {len(names)} ({', '.join(names)}); it returned {got}"
        )
    for name, output in zip(names, outputs, strict=True):
        if output.ndim == 0 or len(output) != len(example[0]):
            raise _not_exportable(
                learner,
                f"its graph must return one entry of {name} per row; it returned the shape {tuple(output.shape)} for "
                f"{len(example[0])} rows",
            )
    return outputs


def _learner_graph(learner: Any, tasks: int) -> Graph:
    if not isinstance(learner, Exportable):
        raise _not_exportable(
            learner,
            "it has no inference graph; derive its class from rlcl.types.Learner and write its method graph "
            "(docs/how-to/add-a-learner.md)",
        )
    try:
        return learner.graph(tasks)
    except UnsupportedError as error:
        raise _not_exportable(learner, str(error)) from error


def _not_exportable(learner: Any, reason: str) -> UnsupportedError:
    return UnsupportedError(f"learner {name_of('learner', learner)} cannot be exported: {reason}")
