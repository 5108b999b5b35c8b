"""What a learner of arrays predicts with, as one torch module from raw inputs to outputs."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.learners.gradient import GradientLearner
from rlcl.learners.supervised.classifier import Classifier
from rlcl.learners.supervised.gdumb import GDumb
from rlcl.learners.supervised.regressor import Regressor
from rlcl.learners.unsupervised.autoencoder import Autoencoder, AutoencoderModule
from rlcl.learners.unsupervised.vae import Vae
from rlcl.networks.variational import VaeModule
from rlcl.registry import name_of
from rlcl.types import PredictingMethod, Stream

__all__ = ["Graph", "WithEncoded", "array_graph"]

Kind = Literal["classifier", "regressor", "autoencoder", "policy"]
Heads = Callable[[Tensor, Tensor, nn.Module], tuple[Tensor, ...]]  # of outputs, encoded inputs and the network


class Graph(nn.Module, ABC):
    """From raw inputs, a task id where there are tasks, and a state where there is one, to the outputs.

    Args:
        kind: what it is.
        outputs: their names, the decisive one first.
        tasks: that it tells apart, 0 for none.
        state: names of what a recurrent policy hands on; the next ones come after the outputs.
    """

    def __init__(self, kind: Kind, outputs: Sequence[str], tasks: int = 0, state: Mapping[str, int] = {}) -> None:
        super().__init__()
        self.kind, self.outputs, self.tasks, self.state = kind, tuple(outputs), tasks, dict(state)

    @abstractmethod
    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """
        Args:
            arrays: (B, *shape) inputs, in the order of their fields; then (B,) int64 task ids; then states (B, N).
        """

    def encoded(self, *arrays: Tensor) -> Tensor | None:
        """(B, ...) what the encoder makes of the inputs, for monitoring; None where it is no step of its own."""
        return None

    def scores(self, *arrays: Tensor) -> Tensor | None:
        """(B, ..., K) what decides between classes or discrete actions; None where numbers are predicted."""
        return None


class WithEncoded(nn.Module):
    """A graph that gives what its encoder makes of the inputs as one more output, flat: ``encoded``, (B, F).

    It is computed twice in the graph, of which ONNX Runtime makes once.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`Graph.forward`."""
        encoded = self.graph.encoded(*arrays)
        return self.graph(*arrays) if encoded is None else (*self.graph(*arrays), encoded.flatten(1))


class GradientGraph(Graph):
    """A gradient learner under its own masks; with tasks, the network as each task uses it.

    Args:
        learner: with its state loaded.
        kind, outputs, tasks: see :class:`Graph`.
        heads: makes the outputs of what the learner's ``outputs`` gives.
    """

    def __init__(self, learner: GradientLearner, kind: Kind, outputs: Sequence[str], tasks: int, heads: Heads) -> None:
        super().__init__(kind, outputs, tasks)
        self._learner, self._heads = learner, heads
        masked = any(isinstance(method, PredictingMethod) for method in (*learner.methods, *learner.own_methods))
        self.networks = nn.ModuleList(_network(learner, task) for task in (range(tasks) if masked else [None]))

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        encoded = self._learner.encoded(arrays[0])
        if not self.tasks:
            return self._heads(self._outputs(encoded, None), encoded, self.networks[0])
        # Of all tasks, and then the row's own: which head a row needs cannot be branched on in a graph. What
        # tasks share ONNX Runtime computes once.
        each = torch.stack([self._outputs(encoded, task) for task in range(self.tasks)], 1)
        own = arrays[1].view(-1, 1, 1).expand(-1, 1, each.shape[2])
        return self._heads(each.gather(1, own).squeeze(1), encoded, self.networks[0])

    def encoded(self, *arrays: Tensor) -> Tensor | None:
        return self._learner.encoded(arrays[0])

    def scores(self, *arrays: Tensor) -> Tensor | None:
        return self(*arrays)[1] if self.kind == "classifier" else None

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


class MemoryGraph(Graph):
    """GDumb: the network that was trained on the memory, for the classes in it."""

    def __init__(self, learner: GDumb) -> None:
        super().__init__("classifier", ("class", "probabilities"))
        self.network = copy.deepcopy(learner.module).eval()
        self._learner = learner
        self.known: Tensor
        self.register_buffer("known", learner.statistics()["known"])

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        logits = self.network(self._learner.encoded(arrays[0]))
        return _classes(logits.masked_fill(~self.known, -torch.inf))

    def encoded(self, *arrays: Tensor) -> Tensor | None:
        return self._learner.encoded(arrays[0])

    def scores(self, *arrays: Tensor) -> Tensor | None:
        found: Tensor = self(*arrays)[1]
        return found


def array_graph(learner: Any, stream: Stream) -> Graph:
    """The graph of a learner that learned from arrays.

    Raises:
        UnsupportedError: it predicts in a way that no graph holds, with the reason.
    """
    if isinstance(learner, Classifier):
        tasks = len(stream.spec.task_classes) if stream.visibility.at_evaluation else 0
        return GradientGraph(learner, "classifier", ("class", "probabilities"), tasks, lambda y, z, n: _classes(y))
    if isinstance(learner, GradientLearner):
        tasks = _tasks(learner, stream)
        if isinstance(learner, Regressor):
            return GradientGraph(learner, "regressor", ("value",), tasks, lambda y, z, n: (y,))
        if isinstance(learner, Autoencoder | Vae):
            return GradientGraph(learner, "autoencoder", ("reconstruction", "error", "code"), tasks, _reconstructed)
    if isinstance(learner, GDumb) and not stream.visibility.at_evaluation:
        return MemoryGraph(learner)
    name = name_of("learner", learner)
    raise UnsupportedError(f"learner {name} cannot be exported: {REASONS.get(name, UNKNOWN)}")


UNKNOWN = (
    "what it predicts with is not known to be a torch module; classifier, regressor, autoencoder, vae, gdumb, ppo, "
    "dqn, sac, td3 and sb3 can be"
)
REASONS = {
    "icarl": "it predicts by the means of its exemplars, which serving would have to hold; use classifier "
    "with rehearsal",
    "nearest_mean": "it predicts by distances to means, and has no network; use classifier",
    "streaming_lda": "it predicts by a covariance, and has no network; use classifier",
    "gdumb": "which classes are possible depends on the task; set stream.visibility.task_ids: hidden",
    "kmeans": "a cluster is neither class, number, reconstruction nor action",
    "barlow_twins": "a representation alone is neither class, number, reconstruction nor action; learn from it by the "
    "encoder trained, and export what learned",
    "simsiam": "a representation alone is neither class, number, reconstruction nor action; learn from it by the "
    "encoder trained, and export what learned",
    "avalanche": "its strategy predicts by code of its own, plugins and all, which no graph holds; use a learner of "
    "rlcl",
}


def _tasks(learner: GradientLearner, stream: Stream) -> int:
    """How many tasks its prediction depends on: those of a network with heads, or of a method's masks."""
    heads = getattr(learner.module, "takes_task_ids", False)
    masks = any(isinstance(method, PredictingMethod) for method in learner.methods)
    if not stream.visibility.at_evaluation or not (heads or masks):
        return 0
    return max((e.task_id for e in stream.evaluated if e.task_id is not None), default=-1) + 1


def _classes(logits: Tensor) -> tuple[Tensor, ...]:
    return logits.argmax(1), logits.softmax(1)


def _reconstructed(outputs: Tensor, encoded: Tensor, network: nn.Module) -> tuple[Tensor, ...]:
    """In the encoder's scale."""
    assert isinstance(network, AutoencoderModule | VaeModule)
    made, code = outputs, network.encode(encoded)
    if isinstance(network, VaeModule):
        made, code = network.expected(outputs), code.chunk(2, 1)[0]
    return made, (made - encoded.flatten(1)).square().mean(1), code
