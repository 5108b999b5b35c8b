"""PackNet: every task keeps the largest of the weights that it trained, and leaves the others to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.methods.parts.parameters import named_parameters
from rlcl.types import AveragingHost, Experience, Host, Method

__all__ = ["PackNet", "reached_units", "smallest"]

FREE = 0  # the owner of weights that no task has kept; the tasks that did count from 1


def smallest(weights: Tensor, among: Tensor, share: float) -> Tensor:
    """Which of the weights are pruned: of those in question the share that is least in magnitude, rounded.

    Args:
        weights: of one layer, any shape.
        among: of the same shape, bool; which are in question.
        share: in [0, 1].

    Returns:
        Of the same shape, bool. Of equal magnitudes the first are taken, so that the number is exact.
    """
    places = among.flatten().nonzero().flatten()
    order = weights.detach().flatten()[places].abs().argsort(stable=True)
    pruned = torch.zeros(weights.numel(), dtype=torch.bool, device=weights.device)
    pruned[places[order[: round(share * len(places))]]] = True
    return pruned.view(weights.shape)


def reached_units(gradient: Tensor) -> Tensor:
    """(U, 1, ...) bool: which units (rows of a parameter) a gradient (U, ...) says anything about."""
    if gradient.ndim < 2:
        return gradient != 0
    return gradient.flatten(1).any(1).view(-1, *[1] * (gradient.ndim - 1))


@define(eq=False)
class Packing:
    """Of one parameter, who keeps what.

    Args:
        owner: in its shape, int16; the number of the task that keeps each weight, 0 while it is free.
        reached: (U, 1, ...) bool; units that the present task's gradient has reached.
        held: in its shape, bool; what must not move now. None for nothing.
        values: in its shape; where it is held, at what. None for nothing.
    """

    owner: Tensor
    reached: Tensor
    held: Tensor | None = None
    values: Tensor | None = None

    @classmethod
    def fresh(cls, parameter: Tensor) -> Packing:
        """All of it free, and none of it reached."""
        return cls(torch.full_like(parameter, FREE, dtype=torch.int16), reached_units(torch.zeros_like(parameter)))

    def hold(self, parameter: Tensor, moving: int) -> None:
        """From now on, only weights of that owner move."""
        held = self.owner != moving
        self.held, self.values = (held, parameter.detach().clone()) if bool(held.any()) else (None, None)


@define(kw_only=True, eq=False)
class PackNet(Method):
    """Packs one task after the other into one network; what a task has kept never changes again.

    A task trains all free weights, beside those that earlier tasks kept, which it reads and leaves as
    they are. After a share ``1 - retrain`` of its updates the smallest weights that it trained are set
    to 0 in each layer; the others retrain for the rest of its updates, and are then held. A prediction
    for a task uses what the tasks up to it have kept. With T tasks behind it a layer has ``prune^T``
    of its weights free; where rounding leaves none, later tasks read the layer as it is.

    Biases, the parameters of normalisations, and a batch norm's running statistics belong to the first
    task that trains them. A unit (an output, a channel) that the task's gradient has never reached, such as
    another task's head, or a class of another task, is left to later tasks as it is. Before a task is
    first finished, a prediction for it uses all weights. A task that comes back is packed anew.

    Args:
        prune: share of the weights that a task trained, in each layer, which it gives back.
        retrain: share of an experience's updates that follow the pruning, rounded.

    Source: Mallya & Lazebnik 2018, PackNet: adding multiple tasks to a single network by iterative pruning,
    section 3; their 20 epochs before the pruning and 10 after it are ``retrain: 0.333``.
    """

    prune: float = option(0.5, gt=0, lt=1)
    retrain: float = option(1 / 3, ge=0, lt=1)
    _host: Host = field(init=False, default=None)
    _packings: dict[str, Packing] = field(init=False, factory=dict)
    _numbers: dict[int, int] = field(init=False, factory=dict)
    _task: int = field(init=False, default=0)
    _number: int = field(init=False, default=0)
    _left: int | None = field(init=False, default=None)
    _statistics: dict[str, bool] = field(init=False, factory=lambda: {"held": False})

    requires = frozenset({"boundaries", "native", "task_id_everywhere"})
    phase = "restore"
    null: ClassVar[Mapping[str, Any] | None] = None

    def refuses(self, host: Host) -> str | None:
        if isinstance(host, AveragingHost) and host.ema is not None:
            return "it holds weights, and an average of weights moves on; leave out learner.ema"
        modules = list(host.modules[host.primary].modules())
        if any(m._compiled_call_impl is not None for m in modules) and any(isinstance(m, _BatchNorm) for m in modules):
            return "it holds a batch norm's statistics, which compiled layers do not allow; set learner.compile: false"
        return None

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        optimizer = host.optimizers[host.primary]
        optimizer.register_step_pre_hook(self._mask)
        optimizer.register_step_post_hook(self._restore)
        _hold_statistics(host.modules[host.primary], self._statistics)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._task = _only_task(experience)
        self._number += 1
        self._left = None if updates is None else max(updates - round(self.retrain * updates), 1)
        for name, parameter in self._parameters().items():
            owner = self._packings[name].owner if name in self._packings else None
            packing = self._packings[name] = Packing.fresh(parameter)
            packing.owner = packing.owner if owner is None else owner
        self._hold()

    def end(self, experience: Experience) -> None:
        if self._pruning:  # no one knew how many updates there would be, or they were fewer
            self._prune()
        self._clear()  # again, for early stopping may have brought back weights from before the pruning
        self._numbers[self._task] = self._number
        self._statistics["held"] = True

    @property
    def _pruning(self) -> bool:
        """Whether the present task still trains all free weights."""
        return self._left is None or self._left > 0

    def _parameters(self) -> dict[str, nn.Parameter]:
        return named_parameters(self._host, self._host.primary)

    def _packed(self) -> Iterator[tuple[nn.Parameter, Packing]]:
        for name, parameter in self._parameters().items():
            yield parameter, self._packings[name]

    @torch.no_grad()
    def _mask(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for parameter, packing in self._packed():
            if parameter.grad is None:
                continue
            if packing.held is not None:
                parameter.grad.masked_fill_(packing.held, 0)
            if self._pruning:
                packing.reached |= reached_units(parameter.grad)

    @torch.no_grad()
    def _restore(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for parameter, packing in self._packed():
            # Momentum, Adam's moments and weight decay move what has no gradient.
            if packing.held is not None and packing.values is not None:
                parameter.copy_(torch.where(packing.held, packing.values, parameter))
        if self._left:
            self._left -= 1
            if not self._left:
                self._prune()

    @torch.no_grad()
    def _prune(self) -> None:
        self._left = 0
        for parameter, packing in self._packed():
            kept = (packing.owner == FREE) & packing.reached
            if parameter.ndim > 1:  # biases and normalisations are kept whole
                kept &= ~smallest(parameter, kept, self.prune)
            packing.owner[kept] = self._number
        self._clear()
        self._hold()

    @torch.no_grad()
    def _clear(self) -> None:
        """Sets to 0 what the present task has given back."""
        for parameter, packing in self._packed():
            parameter.masked_fill_((packing.owner == FREE) & packing.reached, 0)

    def _hold(self) -> None:
        for parameter, packing in self._packed():
            packing.hold(parameter, FREE if self._pruning else self._number)

    @contextmanager
    def predicting(self, task_id: int | None) -> Iterator[None]:
        number = None if task_id is None else self._numbers.get(task_id)
        if number is None:
            yield
            return
        kept = [(p, p.data, packing.owner) for p, packing in self._packed()]
        for parameter, data, owner in kept:
            parameter.data = data.masked_fill((owner == FREE) | (owner > number), 0)
        try:
            yield
        finally:
            for parameter, data, _ in kept:
                parameter.data = data

    def state_dict(self) -> dict[str, Any]:
        return {
            "packings": {name: {"owner": p.owner, "reached": p.reached} for name, p in self._packings.items()},
            "numbers": dict(self._numbers),
            "task": self._task,
            "number": self._number,
            "left": self._left,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._numbers, self._task, self._number = dict(state["numbers"]), state["task"], state["number"]
        self._left = state["left"]
        self._statistics["held"] = bool(self._numbers)
        for name, parameter in self._parameters().items() if state["packings"] else ():
            saved = state["packings"].get(name)
            if saved is None:  # a head that was not there yet
                self._packings[name] = Packing.fresh(parameter)
                continue
            owner, reached = (saved[key].to(parameter.device, copy=True) for key in ("owner", "reached"))
            self._packings[name] = Packing(owner, reached)
        if self._packings:
            self._hold()


def _only_task(experience: Experience) -> int:
    """The task of all of an experience's rows.

    Raises:
        UnsupportedError: they are of several.
    """
    source = experience.arrays
    tasks = {experience.task_id} if source.task_ids is None else set(source.task_ids.tolist())
    task = tasks.pop()
    if tasks or task is None:
        raise UnsupportedError(
            f"learner.methods: packnet packs one task after the other, and experience {experience.index} "
            f"({experience.name}) holds several; use a stream of one task an experience"
        )
    return int(task)


def _hold_statistics(module: nn.Module, held: Mapping[str, bool]) -> None:
    """From ``held["held"]`` on, batch norms neither change their running statistics nor use the minibatch's."""

    def hold(layer: nn.Module, args: Any) -> None:
        if held["held"]:
            layer.training = False

    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.register_forward_pre_hook(hold)
