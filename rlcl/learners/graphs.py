"""Graphs of learners that descend a loss over arrays, for export."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rlcl.networks.task_ids import takes_task_ids
from rlcl.types import Graph, GraphKind, PredictingMethod

if TYPE_CHECKING:
    from rlcl.learners.gradient import GradientLearner

__all__ = ["autoencoder_graph", "class_outputs", "classifier_graph", "gradient_graph", "regressor_graph"]

Heads = Callable[[Tensor, Tensor, nn.Module], tuple[Tensor, ...]]  # of outputs, encoded inputs and the network


class GradientModule(nn.Module):
    """A gradient learner under its methods' masks; with tasks, the network as each task uses it.

    Args:
        learner: with its state loaded.
        tasks: see :class:`rlcl.types.Graph`.
        heads: makes the graph's outputs of what the learner's ``outputs`` gives.
    """

    def __init__(self, learner: GradientLearner, tasks: int, heads: Heads) -> None:
        super().__init__()
        self._learner, self._heads, self.tasks = learner, heads, tasks
        masked = any(isinstance(method, PredictingMethod) for method in (*learner.methods, *learner.own_methods))
        self.networks = nn.ModuleList(_network(learner, task) for task in (range(tasks) if masked else [None]))

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Of raw inputs, and task ids where there are tasks."""
        encoded = self._learner.encoded(arrays[0])
        if not self.tasks:
            return self._heads(self._outputs(encoded, None), encoded, self.networks[0])
        # Of all tasks, and then the row's own: which head a row needs cannot be branched on in a graph. What
        # tasks share ONNX Runtime computes once.
        each = torch.stack([self._outputs(encoded, task) for task in range(self.tasks)], 1)
        own = arrays[1].view(-1, 1, 1).expand(-1, 1, each.shape[2])
        return self._heads(each.gather(1, own).squeeze(1), encoded, self.networks[0])

    def _outputs(self, encoded: Tensor, task: int | None) -> Tensor:
        ids = None if task is None else torch.full_like(encoded.flatten(1)[:, 0], task, dtype=torch.int64)
        network = self.networks[task if task is not None and len(self.networks) > 1 else 0]
        kept, self._learner.module = self._learner.module, network
        try:
            return self._learner.outputs(encoded, ids)
        finally:
            self._learner.module = kept


def _network(learner: GradientLearner, task: int | None) -> nn.Module:
    with learner.predicting(task):
        return copy.deepcopy(learner.module).eval()


def gradient_graph(learner: GradientLearner, kind: GraphKind, tasks: int, heads: Heads) -> Graph:
    """The graph of a gradient learner.

    Args:
        learner: with its state loaded.
        kind: what the outputs mean.
        tasks: that the learner's ``outputs`` depends on, 0 for none.
        heads: makes the graph's outputs of the learner's outputs (B, K), the encoded inputs and the network.
    """
    module = GradientModule(learner, tasks, heads)
    return Graph(kind=kind, module=module, tasks=tasks, encoded=lambda *arrays: learner.encoded(arrays[0]))


def classifier_graph(learner: GradientLearner, tasks: int = 0) -> Graph:
    """The graph of a learner whose outputs are the logits (B, classes) of the class that it predicts."""
    return gradient_graph(learner, "classifier", tasks, lambda logits, *_: class_outputs(logits))


def regressor_graph(learner: GradientLearner, tasks: int = 0) -> Graph:
    """The graph of a learner whose outputs (B, K) are what it predicts."""
    return gradient_graph(learner, "regressor", depends_on_task(learner, tasks), lambda values, *_: (values,))


def autoencoder_graph(learner: GradientLearner, tasks: int, decoded: Heads) -> Graph:
    """The graph of a learner that reconstructs its encoded inputs.

    Args:
        learner: with its state loaded.
        tasks: that ``predict`` is told apart by.
        decoded: the reconstruction (B, F) and the code (B, N), of outputs, encoded inputs and the network.
    """

    def heads(outputs: Tensor, encoded: Tensor, network: nn.Module) -> tuple[Tensor, ...]:
        made, code = decoded(outputs, encoded, network)
        return made, (made - encoded.flatten(1)).square().mean(1), code

    return gradient_graph(learner, "autoencoder", depends_on_task(learner, tasks), heads)


def class_outputs(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Classes (B,) and probabilities (B, K) of logits (B, K)."""
    return logits.argmax(1), logits.softmax(1)


def depends_on_task(learner: GradientLearner, tasks: int) -> int:
    """``tasks`` where a network with heads or a method's masks tell them apart, else 0."""
    heads = takes_task_ids(learner.module)
    return tasks if heads or any(isinstance(method, PredictingMethod) for method in learner.methods) else 0
