"""Guards of torch modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define, field
from torch import Tensor
from torch.optim import Optimizer

from rlcl.errors import DataError, UnsupportedError
from rlcl.methods.attach import AttachedMethods, attach
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.protection.examples import examples_of, first_examples, split_minibatch
from rlcl.protection.guard import Guard, GuardError, source_of_labels
from rlcl.protection.model_host import ModelHost
from rlcl.protection.replay_gradients import ReplayGradients
from rlcl.registry import name_of
from rlcl.seeding import preserved_global_state
from rlcl.types import Experience

__all__ = ["ModelGuard"]

CLASSES = frozenset({"batch", "targets", "boundaries"})  # requirements of methods that read labels of experiences


@define(eq=False)
class ModelGuard(Guard[ModelHost]):
    """Methods that are attached to a torch module and its optimizer; :func:`rlcl.protect` creates it."""

    _labels: set[int] = field(init=False, factory=set)  # of the current experience
    _blind: str = field(init=False, default="")  # name of a method that needs minibatches
    _labelled: str = field(init=False, default="")  # name of a method that needs their targets
    _classes: str = field(init=False, default="")  # name of a method that needs the classes of an experience
    _of_outputs: str = field(init=False, default="")  # name of a method that needs outputs (B, K)
    _checked: bool = field(init=False, default=False)  # whether the model accepts the inputs of the experience

    def _attach(self) -> AttachedMethods:
        replay = ReplayGradients()
        attached = attach((*self.given, replay), self.host, self.seeds, path="methods")
        replay.mixing = attached.mixing
        self.host.optimizer.register_step_post_hook(self._after_step)
        self._blind, self._labelled = (
            next((name_of("method", m) for m in self.given if need in m.requires), "") for need in ("batch", "targets")
        )
        if self.host.kind == "categorical":
            self._classes = next((name_of("method", m) for m in self.given if m.requires >= CLASSES), "")
        self._of_outputs = next((name_of("method", m) for m in self.given if m.kinds is not None), "")
        return attached

    def see(self, x: Any, y: Any = None) -> None:
        """Show the methods a minibatch, before the step of the optimizer that contains its gradient.

        Call it once for each minibatch, several times if a step contains the gradients of several minibatches.

        Args:
            x: (B, ...) inputs, as the model receives them.
            y: (B, ...) targets, as the loss receives them; None without targets.

        Raises:
            GuardError: no experience has begun.
            DataError: ``x`` and ``y`` are no arrays of the same length.
            UnsupportedError: a method needs targets, and there are none.
        """
        if self._within is None:
            raise GuardError("guard.see was called outside an experience; call it within guard.experience(...)")
        if y is None and self._labelled:
            raise UnsupportedError(f"methods: {self._labelled} needs the targets; call guard.see(x, y)")
        if not self._checked:
            self._check_inputs(split_minibatch(x if y is None else (x, y))[0])
        if self._classes and y is not None:
            self._add_labels(torch.as_tensor(y))
        self.host.see(x, y)

    def _add_labels(self, targets: Tensor) -> None:
        if targets.ndim != 1 or targets.is_floating_point():
            form = f"shape {tuple(targets.shape)} and type {targets.dtype}"
        else:
            labels = torch.unique(targets).tolist()
            self._labels.update(labels)
            form = f"the label {labels[0]}" if labels and labels[0] < 0 else ""
        if form:
            raise UnsupportedError(f"methods: {self._classes} needs class labels (B,) from 0 on, got {form}")

    def discard(self) -> None:
        """Remove the minibatches that were seen since the last step: call it if the step is skipped."""
        self.host.after_step()

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Train the model on a minibatch: :meth:`see`, the gradient of the loss, and the step of the optimizer.

        Args:
            x: (B, ...) inputs, on the device of the model.
            y: (B, ...) targets.

        Returns:
            The loss of the minibatch, a scalar without gradient.

        Raises:
            UnsupportedError: ``loss`` was not given.
        """
        if self.host.loss_function is None:
            raise UnsupportedError("guard.step needs the loss function; set loss, or call guard.see before the step")
        self.see(x, y)
        batch = self.host.batch
        assert batch is not None
        self.host.optimizer.zero_grad()
        loss = self.host.loss_function(self.host.outputs(x, batch.task_ids), y)
        loss.backward()  # type: ignore[no-untyped-call]
        self.host.optimizer.step()
        return loss.detach()

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        arguments = super()._before_step(optimizer, args, kwargs)
        if self._blind and self.host.batch is None:
            raise UnsupportedError(
                f"methods: {self._blind} needs the minibatch of each update; call guard.see(x, y) before "
                "optimizer.step(), or guard.step(x, y) in its place"
            )
        return arguments

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self.host.after_step()

    def _prepare(self, data: Any, task_id: int | None) -> None:
        if self.host.task_ids != (task_id is not None):
            remedy = "give guard.experience its task_id" if self.host.task_ids else "set task_ids=True in rlcl.protect"
            raise GuardError(f"task_id: got {task_id}; {remedy}")
        self.host.task_id = task_id
        self._checked = False
        if data is not None:
            self._check_inputs(first_examples(data)[0])
        self.host.examples = None if data is None else examples_of(data)
        self.host.after_step()
        if not self._continued:
            self._labels.clear()
            self.host.sample_memory.clear()

    def _check_inputs(self, inputs: Tensor) -> None:
        """Check before the training that methods can use the model at the end of an experience.

        Raises:
            DataError: the model does not accept the inputs.
            UnsupportedError: a method needs outputs (B, K), and these have another shape.
        """
        self._checked = True
        host = self.host
        with evaluation_mode(host.module), preserved_global_state():
            try:
                outputs: Any = host.outputs_of_rows(inputs[:1])
            except (RuntimeError, IndexError, TypeError, ValueError) as error:
                form = f"shape {tuple(inputs[:1].shape)} and type {inputs.dtype}"
                raise DataError(
                    f"data: the model does not accept inputs of {form}: {str(error).splitlines()[0]}; "
                    "give them as the model receives them"
                ) from error
        if self._of_outputs and (not isinstance(outputs, Tensor) or outputs.ndim != 2):
            form = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"type {type(outputs).__name__}"
            raise UnsupportedError(
                f"methods: {self._of_outputs} needs outputs of shape (B, K), and those of {host.name} have {form}; "
                "wrap the model in a module that returns such outputs"
            )

    def _finished(self, experience: Experience) -> Experience:
        """Return the experience with the labels that were seen, from which methods take the classes."""
        train = source_of_labels(sorted(self._labels))
        return Experience(experience.index, experience.name, train, None, experience.budget, experience.task_id)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "labels": sorted(self._labels), "sample": self.host.sample_memory.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._labels = set(state["labels"])
        self.host.sample_memory.load_state_dict(state["sample"], self.host.device)
