"""Guards: continual-learning methods that are attached to a model which the user trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar
from weakref import WeakSet

import torch
from attrs import define, field
from torch import nn
from torch.optim import Optimizer

from rlcl.data.sources import LabelledArrays
from rlcl.errors import RlclError
from rlcl.methods.attach import AttachedMethods, attach
from rlcl.registry import name_of
from rlcl.seeding import Seeds
from rlcl.types import Budget, Experience, Host, Method

__all__ = ["Guard", "GuardError", "source_of_labels"]

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
            index, name or f"experience {index + 1}", source_of_labels(()), None, Budget(updates=updates or 1), task_id
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


def source_of_labels(labels: Sequence[int]) -> LabelledArrays:
    """Return a source of rows without values that have these labels; methods sample examples from the host."""
    return LabelledArrays(torch.empty(len(labels), 0), torch.tensor(labels, dtype=torch.int64))


def _unknown(index: int) -> Experience:
    return Experience(index, f"experience {index + 1}", source_of_labels(()), None, Budget(updates=1))
