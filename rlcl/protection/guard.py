"""Guards: continual-learning methods that are attached to a model which the user trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar
from weakref import WeakSet

import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.data.sources import LabelledArrays
from rlcl.errors import DataError, RlclError, UnsupportedError
from rlcl.methods.attach import AttachedMethods, attach
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.protection.examples import examples_of, first_examples, split_minibatch
from rlcl.protection.model_host import ModelHost
from rlcl.protection.replay_gradients import ReplayGradients
from rlcl.registry import name_of
from rlcl.seeding import Seeds, preserved_global_state
from rlcl.types import Budget, Experience, Host, Method

__all__ = ["Guard", "GuardError", "ModelGuard"]

CLASSES = frozenset({"batch", "targets", "boundaries"})  # requirements of methods that read labels of experiences
H = TypeVar("H", bound=Host)
_protected: WeakSet[Optimizer] = WeakSet()


class GuardError(RlclError):
    """Raised when the calls of a guard are not in the right order."""


@define(eq=False)
class Guard(ABC, Generic[H]):
    """Methods that are attached to the optimizers of a model; :func:`rlcl.protect` creates it.

    Args:
        host: the model.
        given: the methods.
        seeds: for the methods.
    """

    host: H
    given: Sequence[Method]
    seeds: Seeds
    experiences: int = field(init=False, default=0)  # that have ended
    _attached: AttachedMethods = field(init=False, default=None)
    _within: Experience | None = field(init=False, default=None)
    _continued: bool = field(init=False, default=False)  # the current experience was begun before
    _trainable: list[tuple[str, nn.Parameter, bool]] = field(init=False, factory=list)  # at the last begin
    _ended: int = field(init=False, default=0)  # number of methods that have ended the current experience

    def __attrs_post_init__(self) -> None:
        optimizers = [*self.host.optimizers.values()]
        if any(optimizer in _protected for optimizer in optimizers):
            raise GuardError(
                "optimizer: another guard protects it, and its methods cannot be removed; create a new optimizer"
            )
        handles = [optimizer.register_step_pre_hook(self._before_step) for optimizer in optimizers]
        try:
            self._attached = self._attach()
        except RlclError:
            for handle in handles:
                handle.remove()
            raise
        _protected.update(optimizers)

    def _attach(self) -> AttachedMethods:
        return attach(self.given, self.host, self.seeds, path="methods")

    @property
    def _ordered(self) -> list[Method]:
        """The given methods, in the order of their phases."""
        return [method for method in self._attached.methods if method in self.given]

    @property
    def _parameters(self) -> dict[str, nn.Parameter]:
        """All parameters by name."""
        modules = self.host.modules.items()
        return {f"{key}.{name}": p for key, module in modules for name, p in module.named_parameters()}

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """Check a step before the hooks of the methods.

        Optimizers call a closure after these hooks, but methods act on the gradients that it computes. It is called
        here, and the optimizer receives its result.

        Returns:
            The new arguments of the step, None to leave them unchanged.
        """
        if self._within is None:
            raise GuardError("optimizer.step was called outside an experience; call it within guard.experience(...)")
        for name, parameter, trainable in self._trainable:
            if parameter.requires_grad != trainable:
                change = "unfrozen" if parameter.requires_grad else "frozen"
                raise GuardError(f"{name} was {change} within an experience; do it between two experiences")
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            return None
        with torch.enable_grad():
            loss = closure()
        return args[:1], {**kwargs, "closure": lambda: loss}

    @contextmanager
    def experience(
        self, data: Any = None, *, task_id: int | None = None, updates: int | None = None, name: str = ""
    ) -> Iterator[None]:
        """Return a context for the training on one experience, with :meth:`begin` and :meth:`end`.

        After an exception within it, the experience has not ended: the next context continues it.

        Args:
            data: see :meth:`begin`.
            task_id: see :meth:`begin`.
            updates: see :meth:`begin`.
            name: see :meth:`begin`.
        """
        self.begin(data, task_id=task_id, updates=updates, name=name)
        try:
            yield
            self.end()
        except BaseException:
            self.suspend()
            raise

    def begin(
        self, data: Any = None, *, task_id: int | None = None, updates: int | None = None, name: str = ""
    ) -> None:
        """Begin an experience, or continue one after an exception or :meth:`load_state_dict`.

        Args:
            data: what the experience trains on, from which methods sample examples at its end: inputs and targets
                ``(x, y)``, a data set, a ``DataLoader``, or a list of minibatches. By default they sample from the
                examples that were seen. Not for models of Stable-Baselines3, which have their own data.
            task_id: task of the experience, from 0; required, and only allowed, with ``task_ids=True``.
            updates: number of updates that the experience will take; None if it is not known.
            name: of the experience, for a user's own methods.

        Raises:
            GuardError: the previous experience has not ended.
            DataError: ``data`` is none of these.
        """
        if self._within is not None and not self._continued:
            raise GuardError("an experience has not ended; experiences cannot contain each other")
        self._prepare(data, task_id)
        index = self.experiences
        experience = Experience(
            index, name or f"experience {index + 1}", _source(()), None, Budget(updates=updates or 1), task_id
        )
        self._within = experience
        self._trainable = [(name, p, p.requires_grad) for name, p in self._parameters.items()]
        if not self._continued:
            self._attached.begin(experience, updates)
        self._continued = False

    @abstractmethod
    def _prepare(self, data: Any, task_id: int | None) -> None:
        """Prepare the host for an experience, which may be one that continues."""

    def suspend(self) -> None:
        """Leave the current experience, if there is one, so that the next :meth:`begin` continues it."""
        self._continued = self._within is not None

    def end(self) -> None:
        """End the experience: the methods store what they need to protect it.

        Raises:
            GuardError: no experience has begun.
        """
        if self._within is None:
            raise GuardError("no experience has begun; call guard.begin, or use guard.experience")
        experience = self._finished(self._within)
        for method in self._attached.methods[self._ended :]:  # those that ended before an exception do not end again
            method.end(experience)
            self._ended += 1
        self._within, self._ended = None, 0
        self.experiences += 1

    def _finished(self, experience: Experience) -> Experience:
        return experience

    @contextmanager
    def predicting(self, task_id: int | None = None) -> Iterator[None]:
        """Return a context in which the model predicts for a task.

        It is needed only for methods that change the model during prediction, such as ``packnet``.

        Args:
            task_id: the task, None if it is not known.
        """
        with ExitStack() as stack:
            for method in self._attached.predicting:
                stack.enter_context(method.predicting(task_id))
            yield

    def quantities(self) -> dict[str, float]:
        """Return the quantities that the methods log, by ``<method>/<quantity>``, for example ``ewc/penalty``."""
        return self._attached.quantities()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the methods, without that of the model and optimizer: plain values, arrays and tensors.

        It may be stored within an experience. ``torch.save`` writes it, and ``torch.load`` reads it with
        ``weights_only=True``.
        """
        return {
            "experiences": self.experiences,
            "within": self._within is not None,
            "parameters": list(self._parameters),
            "methods": [{"name": name_of("method", m), "state": m.state_dict()} for m in self._ordered],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`, after the states of the model and the optimizer.

        If it was stored within an experience, the next :meth:`experience` continues that one.

        Raises:
            GuardError: it is the state of other methods, or of a model whose parameters have other names.
        """
        names, stored = [name_of("method", m) for m in self._ordered], [entry["name"] for entry in state["methods"]]
        if names != stored:
            raise GuardError(f"the state is of the methods {stored}, and the guard has {names}; give the same methods")
        if unknown := sorted({*state["parameters"]} - self._parameters.keys()):
            raise GuardError(f"the state is of a model with other parameters: this one has no {unknown[0]}")
        self.experiences = state["experiences"]
        self._continued = state["within"]
        self._within = _unknown(self.experiences) if state["within"] else None
        for method, entry in zip(self._ordered, state["methods"], strict=True):
            method.load_state_dict(entry["state"])


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
        train = _source(sorted(self._labels))
        return Experience(experience.index, experience.name, train, None, experience.budget, experience.task_id)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "labels": sorted(self._labels), "sample": self.host.sample_memory.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._labels = set(state["labels"])
        self.host.sample_memory.load_state_dict(state["sample"], self.host.device)


def _source(labels: Sequence[int]) -> LabelledArrays:
    """Return a source of rows without values that have these labels; methods sample examples from the host."""
    return LabelledArrays(torch.empty(len(labels), 0), torch.tensor(labels, dtype=torch.int64))


def _unknown(index: int) -> Experience:
    return Experience(index, f"experience {index + 1}", _source(()), None, Budget(updates=1))
