"""PackNet: each task owns the largest of the weights that it trained; the others are free for later tasks."""

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
from rlcl.methods.parts.experience_tasks import tasks_of
from rlcl.methods.parts.parameters import named_parameters
from rlcl.types import AveragingHost, Experience, Host, Method

__all__ = ["PackNet", "reached_units", "smallest"]

FREE = 0  # owner number of free weights; tasks are numbered from 1


def smallest(weights: Tensor, candidates: Tensor, share: float) -> Tensor:
    """Return a mask of the weights to prune: the share of the candidates with the smallest magnitude, rounded.

    Args:
        weights: of one layer, any shape.
        candidates: of the same shape, bool; the weights that may be pruned.
        share: in [0, 1].

    Returns:
        Of the same shape, bool. Of equal magnitudes the first are pruned, so that the number is exact.
    """
    indices = candidates.flatten().nonzero().flatten()
    order = weights.detach().flatten()[indices].abs().argsort(stable=True)
    pruned = torch.zeros(weights.numel(), dtype=torch.bool, device=weights.device)
    pruned[indices[order[: round(share * len(indices))]]] = True
    return pruned.view(weights.shape)


def reached_units(gradient: Tensor) -> Tensor:
    """Return a mask (U, 1, ...) of the units (rows of a parameter) whose gradient (U, ...) is not zero."""
    if gradient.ndim < 2:
        return gradient != 0
    return gradient.flatten(1).any(1).view(-1, *[1] * (gradient.ndim - 1))


@define(eq=False)
class Packing:
    """Ownership of the weights of one parameter.

    Args:
        owner: in the parameter's shape, int16; the number of the task that owns each weight, 0 if it is free.
        reached: (U, 1, ...) bool; units with a non-zero gradient in the current task.
        held: in the parameter's shape, bool; weights that must not change now. None if all may change.
        values: in the parameter's shape; the values of held weights. None if all may change.
    """

    owner: Tensor
    reached: Tensor
    held: Tensor | None = None
    values: Tensor | None = None

    @classmethod
    def fresh(cls, parameter: Tensor) -> Packing:
        """Return a packing whose weights are all free and whose units are not reached."""
        return cls(torch.full_like(parameter, FREE, dtype=torch.int16), reached_units(torch.zeros_like(parameter)))

    def hold(self, parameter: Tensor, moving: int) -> None:
        """Hold all weights at their current values, except the weights of the owner ``moving``."""
        held = self.owner != moving
        self.held, self.values = (held, parameter.detach().clone()) if bool(held.any()) else (None, None)


@define(kw_only=True, eq=False)
class PackNet(Method):
    """Several tasks in one network by pruning; the weights that a task owns never change again.

    A task trains all free weights. It also uses the weights of earlier tasks, without changing them.
    After a share ``1 - retrain`` of its updates, the smallest weights that it trained are set to 0 in each layer
    and become free again. The others retrain for the remaining updates, and are then held. A prediction for a
    task uses the weights of this and earlier tasks. After T tasks, the share ``prune^T`` of a layer's
    weights is free. If rounding leaves none, later tasks use the layer without changes.

    Biases, the parameters of normalization layers, and a batch norm's running statistics belong to the first
    task that trains them. A fitted encoder does not change after the first experience (as with
    ``boundary.encoder: freeze``). A unit (an output, a channel) whose gradient in the task was always zero, such as
    another task's head, or a class of another task, stays free and unchanged. Until a task is
    finished for the first time, its predictions use all weights. A task that recurs is packed again. Of a policy, the
    network that acts is packed; ``ppo`` packs the critic too.

    Args:
        prune: share of the weights trained by a task that becomes free again, in each layer.
        retrain: share of an experience's updates after the pruning, rounded.

    Source: Mallya & Lazebnik 2018, PackNet: adding multiple tasks to a single network by iterative pruning,
    section 3; their 20 epochs before the pruning and 10 after it correspond to ``retrain: 0.333``.
    """

    prune: float = option(0.5, gt=0, lt=1)
    retrain: float = option(1 / 3, ge=0, lt=1)
    _host: Host = field(init=False, default=None)
    _packings: dict[str, Packing] = field(init=False, factory=dict)
    _numbers: dict[int, int] = field(init=False, factory=dict)
    _task: int = field(init=False, default=0)
    _number: int = field(init=False, default=0)
    _updates_left: int | None = field(init=False, default=None)
    _statistics: dict[str, bool] = field(init=False, factory=lambda: {"held": False})

    requires = frozenset({"boundaries", "native", "one_task", "task_id_everywhere"})
    phase = "restore"
    freezes_encoder = True
    null: ClassVar[Mapping[str, Any] | None] = None

    def refuses(self, host: Host) -> str | None:
        if isinstance(host, AveragingHost) and host.ema is not None:
            return "it holds weights, which an average of the weights does not; leave out learner.ema"
        modules = list(host.modules[host.primary].modules())
        if any(m._compiled_call_impl is not None for m in modules) and any(isinstance(m, _BatchNorm) for m in modules):
            return "it holds batch norm statistics, which compiled layers do not support; set learner.compile: false"
        return None

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = host
        optimizer = host.optimizers[host.primary]
        optimizer.register_step_pre_hook(self._mask)
        optimizer.register_step_post_hook(self._restore)
        _hold_batch_norms(host.modules[host.primary], self._statistics)

    def begin(self, experience: Experience, updates: int | None) -> None:
        (task,) = tasks_of(experience)
        assert task is not None
        self._task = task
        self._number += 1
        self._updates_left = None if updates is None else max(updates - round(self.retrain * updates), 1)
        for name, parameter in self._parameters().items():
            owner = self._packings[name].owner if name in self._packings else None
            packing = self._packings[name] = Packing.fresh(parameter)
            packing.owner = packing.owner if owner is None else owner
        self._hold()

    def end(self, experience: Experience) -> None:
        if self._pruning:  # the number of updates was unknown, or training stopped early
            self._prune()
        self._clear()  # early stopping may have restored weights from before the pruning
        self._numbers[self._task] = self._number
        self._statistics["held"] = True

    @property
    def _pruning(self) -> bool:
        """Whether the current task still trains all free weights."""
        return self._updates_left is None or self._updates_left > 0

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
            # Momentum, Adam's moments and weight decay change weights without gradients.
            if packing.held is not None and packing.values is not None:
                parameter.copy_(torch.where(packing.held, packing.values, parameter))
        if self._updates_left:
            self._updates_left -= 1
            if not self._updates_left:
                self._prune()

    @torch.no_grad()
    def _prune(self) -> None:
        self._updates_left = 0
        for parameter, packing in self._packed():
            owned = (packing.owner == FREE) & packing.reached
            if parameter.ndim > 1:  # biases and normalization layers are not pruned
                owned &= ~smallest(parameter, owned, self.prune)
            packing.owner[owned] = self._number
        self._clear()
        self._hold()

    @torch.no_grad()
    def _clear(self) -> None:
        """Set the weights that the current task has pruned to 0."""
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
        # In place, because a policy may read its weights from the same memory without torch.
        unmasked = [(p.data, p.data.clone(), packing.owner) for p, packing in self._packed()]
        for data, _, owner in unmasked:
            data.masked_fill_((owner == FREE) | (owner > number), 0)
        try:
            yield
        finally:
            for data, values, _ in unmasked:
                data.copy_(values)

    def quantities(self) -> Mapping[str, float]:
        """See :class:`rlcl.types.Method`; the share of weights that no finished or pruned task owns."""
        free = [(int((p.owner == FREE).sum()), p.owner.numel()) for p in self._packings.values()]
        return {"free_weights": sum(n for n, _ in free) / sum(n for _, n in free)} if free else {}

    def state_dict(self) -> dict[str, Any]:
        return {
            "packings": {name: {"owner": p.owner, "reached": p.reached} for name, p in self._packings.items()},
            "numbers": dict(self._numbers),
            "task": self._task,
            "number": self._number,
            "left": self._updates_left,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._numbers, self._task, self._number = dict(state["numbers"]), state["task"], state["number"]
        self._updates_left = state["left"]
        self._statistics["held"] = bool(self._numbers)
        for name, parameter in self._parameters().items() if state["packings"] else ():
            saved = state["packings"].get(name)
            if saved is None:  # a head that was added later
                self._packings[name] = Packing.fresh(parameter)
                continue
            owner, reached = (saved[key].to(parameter.device, copy=True) for key in ("owner", "reached"))
            self._packings[name] = Packing(owner, reached)
        if self._packings:
            self._hold()


def _hold_batch_norms(module: nn.Module, held: Mapping[str, bool]) -> None:
    """Keep batch norms in evaluation mode while ``held["held"]`` is true, so that running statistics do not change."""

    def hold(layer: nn.Module, args: Any) -> None:
        if held["held"]:
            layer.training = False

    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.register_forward_pre_hook(hold)
