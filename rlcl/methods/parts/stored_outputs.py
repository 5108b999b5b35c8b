"""Stored inputs of a network with its outputs, and a loss term on the distance to these outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.methods.memories.examples import Examples
from rlcl.methods.memories.memory import Memory
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.networks import outputs_of, sample_inputs
from rlcl.methods.parts.parameters import add_gradients_of, named_parameters
from rlcl.types import Host

__all__ = ["StoredOutputs"]


@define(eq=False)
class StoredOutputs:
    """Memory of a network's inputs and outputs, whose hook adds the gradient of a loss on a sample of it.

    Args:
        host: the learner.
        key: network, a key of ``host.optimizers``.
        examples: memory of inputs, task ids and outputs.
        batch_size: examples sampled for each update.
        loss: maps current outputs and stored outputs, (B, K) each, to the loss, a scalar.
    """

    host: Host
    key: str
    examples: Examples
    batch_size: int
    loss: Callable[[Tensor, Tensor], Tensor]
    _outputs: Callable[[Tensor, Tensor | None], Tensor] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._outputs = outputs_of(self.host, self.key)
        self.host.optimizers[self.key].register_step_pre_hook(self._add)

    @property
    def memory(self) -> Memory:
        return self.examples.memory

    def store(self, samples: int, rng: np.random.Generator) -> None:
        """Offer inputs of the experience that has just ended to the memory, with the network's outputs.

        Args:
            samples: number of inputs, at most.
            rng: source of randomness.
        """
        batch = sample_inputs(self.host, self.key, samples, rng)
        with evaluation_mode(self.host.modules[self.key]):
            outputs = self._outputs(batch.inputs, batch.task_ids)
        self.examples.insert(batch._replace(targets=None, outputs=outputs))

    def _add(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not len(self.examples):
            return
        replayed = self.examples.sample(self.batch_size)
        assert replayed.outputs is not None
        outputs = self._outputs(replayed.inputs, replayed.task_ids)
        add_gradients_of(self.loss(outputs, replayed.outputs), named_parameters(self.host, self.key))
