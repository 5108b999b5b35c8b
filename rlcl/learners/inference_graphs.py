"""Inference graphs of gradient learners, for export."""

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

# From a learner's outputs (B, K), the encoded inputs and the network to the outputs of the graph.
Heads = Callable[[Tensor, Tensor, nn.Module], tuple[Tensor, ...]]


class GradientInferenceModule(nn.Module):
    """The prediction of a gradient learner as one module, with the methods' masks applied.

    If a method masks the network by task, the module holds one copy of the network for each task.

    Args:
        learner: learner with a loaded state.
        tasks: number of tasks; see :class:`rlcl.types.Graph`.
        heads: function from the learner's outputs, the encoded inputs and the network to the graph's outputs.
    """

    def __init__(self, learner: GradientLearner, tasks: int, heads: Heads) -> None:
        super().__init__()
        self._learner, self._heads, self.tasks = learner, heads, tasks
        masked = any(isinstance(method, PredictingMethod) for method in (*learner.methods, *learner.own_methods))
        self.networks = nn.ModuleList(_network(learner, task) for task in (range(tasks) if masked else [None]))

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for raw inputs and, if there are tasks, task ids."""
        encoded = self.encoded(*arrays)
        if not self.tasks:
            return self._heads(self._outputs(encoded, None), encoded, self.networks[0])
        # A graph cannot branch on the task id of a row, so the outputs of all tasks are computed and each row selects
        # its own. ONNX Runtime computes layers that tasks share once.
        outputs = torch.stack([self._outputs(encoded, task) for task in range(self.tasks)], 1)
        task_indices = arrays[1].view(-1, 1, 1).expand(-1, 1, outputs.shape[2])
        return self._heads(outputs.gather(1, task_indices).squeeze(1), encoded, self.networks[0])

    def encoded(self, *arrays: Tensor) -> Tensor:
        """Return the encoded inputs for the arguments of the graph."""
        return self._learner.encoded(arrays[0], arrays[1] if self.tasks else None)

    def _outputs(self, encoded: Tensor, task: int | None) -> Tensor:
        ids = None if task is None else torch.full_like(encoded.flatten(1)[:, 0], task, dtype=torch.int64)
        network = self.networks[task if task is not None and len(self.networks) > 1 else 0]
        original, self._learner.module = self._learner.module, network
        try:
            return self._learner.outputs(encoded, ids)
        finally:
            self._learner.module = original


def _network(learner: GradientLearner, task: int | None) -> nn.Module:
    """Return a copy of the learner's network as it predicts for a task."""
    with learner.predicting(task):
        return copy.deepcopy(learner.module).eval()


def gradient_graph(learner: GradientLearner, kind: GraphKind, tasks: int, heads: Heads) -> Graph:
    """Return the graph of a gradient learner.

    Args:
        learner: learner with a loaded state.
        kind: kind of the graph's outputs.
        tasks: number of tasks that the learner's ``outputs`` depend on; 0 if they do not depend on the task.
        heads: function from the learner's outputs (B, K), the encoded inputs and the network to the graph's outputs.
    """
    module = GradientInferenceModule(learner, tasks, heads)
    return Graph(kind=kind, module=module, tasks=tasks, encoded=module.encoded)


def classifier_graph(learner: GradientLearner, tasks: int = 0) -> Graph:
    """Return the graph of a learner whose outputs are logits (B, classes) and that predicts the most likely class."""
    return gradient_graph(learner, "classifier", tasks, lambda logits, *_: class_outputs(logits))


def regressor_graph(learner: GradientLearner, tasks: int = 0) -> Graph:
    """Return the graph of a learner whose outputs (B, K) are its predictions."""
    return gradient_graph(learner, "regressor", distinguished_tasks(learner, tasks), lambda values, *_: (values,))


def autoencoder_graph(learner: GradientLearner, tasks: int, decoded: Heads) -> Graph:
    """Return the graph of a learner that reconstructs its encoded inputs.

    Args:
        learner: learner with a loaded state.
        tasks: number of task ids that ``predict`` accepts; 0 if it accepts no task ids.
        decoded: function from outputs, encoded inputs and the network to the reconstruction (B, F) and the code (B, N).
    """

    def heads(outputs: Tensor, encoded: Tensor, network: nn.Module) -> tuple[Tensor, ...]:
        reconstruction, code = decoded(outputs, encoded, network)
        return reconstruction, (reconstruction - encoded.flatten(1)).square().mean(1), code

    return gradient_graph(learner, "autoencoder", distinguished_tasks(learner, tasks), heads)


def class_outputs(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the predicted classes (B,) and the probabilities (B, K) for logits (B, K)."""
    return logits.argmax(1), logits.softmax(1)


def distinguished_tasks(learner: GradientLearner, tasks: int) -> int:
    """Return ``tasks`` if the network has heads or a method has masks for them, else 0."""
    heads = takes_task_ids(learner.module)
    return tasks if heads or any(isinstance(method, PredictingMethod) for method in learner.methods) else 0
