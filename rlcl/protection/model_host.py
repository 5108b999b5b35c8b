"""Adapter that exposes a torch module and its optimizer to methods through the ``Host`` interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.errors import UnsupportedError
from rlcl.methods.attach import join_batches
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.networks.task_ids import call_network
from rlcl.protection.examples import Examples, split_minibatch
from rlcl.seeding import preserved_global_state
from rlcl.types import Batch

__all__ = ["ModelHost"]

KEY = "model"


@define(eq=False)
class ModelHost:
    """Adapter from a module and its optimizer to the :class:`rlcl.types.Host` interface.

    Args:
        module: the module.
        optimizer: an optimizer of its parameters.
        loss_function: maps outputs (B, ...) and targets (B, ...) to their mean loss; None if it is not known.
        kind: see :class:`rlcl.types.Host`.
        task_ids: whether each experience has a task id.
        shape: shape of one input, None if it is not known.
        sample_memory: uniform sample of the seen examples of the experience, if its data is not given.
    """

    module: nn.Module
    optimizer: Optimizer
    loss_function: Callable[[Tensor, Tensor], Tensor] | None
    kind: str
    task_ids: bool
    shape: tuple[int, ...] | None
    sample_memory: ReservoirMemory
    task_id: int | None = field(init=False, default=None)  # of the current or last experience
    examples: Examples | None = field(init=False, default=None)  # of the current or last experience, if given
    _seen: list[Batch] = field(init=False, factory=list)  # since the last step of the optimizer
    primary: str = field(init=False, default=KEY)

    @property
    def name(self) -> str:
        return type(self.module).__name__

    @property
    def provides(self) -> frozenset[str]:
        known = {"batch", "targets", "one_task", "boundaries", "native"}
        if self.loss_function is not None:
            known |= {"loss", "shares"}
        if self.shape is not None:
            known.add("input_shape")
        if self.task_ids:
            known |= {"task_id", "task_id_everywhere"}
        return frozenset(known)

    @property
    def lacking(self) -> Mapping[str, str]:
        """See :class:`rlcl.types.LackingHost`."""
        tasks = "the experiences have no task ids; set task_ids=True"
        loss = "the loss function is not known; set loss"
        shape = "the shape of its inputs is not known; set input_shape"
        return {"task_id": tasks, "task_id_everywhere": tasks, "loss": loss, "shares": loss, "input_shape": shape}

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        # A compiled module has the parameters of the original one, by names with a prefix.
        return {KEY: getattr(self.module, "_orig_mod", self.module)}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return {KEY: self.optimizer}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """See :class:`rlcl.types.NativeHost`."""
        assert self.shape is not None
        return self.shape

    @property
    def device(self) -> torch.device:
        """The device of the module."""
        return next(self.module.parameters()).device

    def see(self, x: Any, y: Any) -> Batch:
        """Add a minibatch to those whose gradients the next step of the optimizer contains, and return it."""
        inputs, targets = split_minibatch(x if y is None else (x, y))
        batch = self._on_device(inputs.detach(), None if targets is None else targets.detach())
        self._seen.append(batch)
        if self.examples is None:
            self.sample_memory.insert(inputs=batch.inputs, targets=batch.targets)
        return batch

    def after_step(self) -> None:
        """Remove the minibatches whose gradients the last step of the optimizer contained."""
        self._seen.clear()

    @property
    def batch(self) -> Batch | None:
        if len(self._seen) > 1:
            joined = self._seen[0]
            for batch in self._seen[1:]:
                joined = join_batches(joined, batch)
            self._seen[:] = [joined]
        return self._seen[0] if self._seen else None

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        return call_network(self.module, x, task_ids)

    def outputs_of_rows(self, inputs: Tensor) -> Tensor:
        """Return the outputs for inputs on any device, with the task id of the experience."""
        batch = self._on_device(inputs, None)
        return self.outputs(batch.inputs, batch.task_ids)

    @property
    def loss(self) -> Callable[[Batch], Tensor] | None:
        return None if self.loss_function is None else self._loss

    def _loss(self, batch: Batch) -> Tensor:
        assert self.loss_function is not None
        assert batch.targets is not None
        loss = self.loss_function(self.outputs(batch.inputs, batch.task_ids), batch.targets)
        if loss.ndim:
            raise UnsupportedError(f"loss: expected a mean over the minibatch; got shape {tuple(loss.shape)}")
        return loss

    def sample(self, n: int | None, rng: np.random.Generator) -> Batch:
        """Sample at most ``n`` examples of the experience that has just ended, without replacement.

        Raises:
            UnsupportedError: its data was not given, and no examples were seen.
        """
        if self.examples is not None:
            rows = rng.permutation(len(self.examples))[:n].tolist()
            with preserved_global_state():  # a data set may augment its examples
                return self._on_device(*self.examples.at(rows))
        if not len(self.sample_memory):
            raise UnsupportedError(
                "methods: one needs examples of the experience that has ended; give guard.experience its data, or call "
                "guard.see(x, y) before each step"
            )
        columns = self.sample_memory.at(rng.permutation(len(self.sample_memory))[:n])
        return self._on_device(columns["inputs"], columns.get("targets"))

    def _on_device(self, inputs: Tensor, targets: Tensor | None) -> Batch:
        device = self.device
        ids = None if self.task_id is None else torch.full((len(inputs),), self.task_id, device=device)
        return Batch(inputs.to(device), None if targets is None else targets.to(device), ids)
