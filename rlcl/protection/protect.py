"""The function that protects a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from rlcl.errors import UnsupportedError
from rlcl.methods.memories.reservoir import ReservoirMemory
from rlcl.protection.guard import Guard
from rlcl.protection.model_guard import ModelGuard
from rlcl.protection.model_host import ModelHost
from rlcl.registry import name_of
from rlcl.seeding import Seeds
from rlcl.types import Method

__all__ = ["protect"]

KINDS = ("categorical", "values", "reconstruction", "gaussian", "other")
LOSSES: Mapping[str, tuple[tuple[type[nn.Module], ...], tuple[Any, ...]]] = {
    "categorical": ((nn.CrossEntropyLoss, nn.NLLLoss), (F.cross_entropy, F.nll_loss)),
    "values": (
        (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss),
        (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss),
    ),
}
Loss = Callable[[Tensor, Tensor], Tensor]


@overload
def protect(
    model: nn.Module,
    optimizer: Optimizer,
    methods: Sequence[Method],
    *,
    loss: Loss | None = None,
    kind: str | None = None,
    task_ids: bool = False,
    input_shape: Sequence[int] | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> ModelGuard: ...


@overload
def protect(model: Any, *, methods: Sequence[Method], seed: int = 0) -> Guard[Any]: ...


def protect(
    model: Any,
    optimizer: Optimizer | None = None,
    methods: Sequence[Method] = (),
    *,
    loss: Loss | None = None,
    kind: str | None = None,
    task_ids: bool = False,
    input_shape: Sequence[int] | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> Guard[Any]:
    """Attach continual-learning methods to a model that is trained without rlcl's trainer.

    The methods act in ``optimizer.step``. A method that needs something which the model does not provide is refused.

    Args:
        model: a torch module, or a model of Stable-Baselines3.
        optimizer: optimizer of the module's parameters; not for models of Stable-Baselines3, which have their own.
        methods: for example ``[rlcl.Ewc(strength=100)]``; see ``rlcl list method``.
        loss: function of outputs (B, ...) and targets (B, ...) that returns their mean loss, a scalar.
        kind: meaning of the outputs: ``categorical`` (logits of classes), ``values``, ``reconstruction`` (of the
            inputs), ``gaussian`` (means and log standard deviations, concatenated) or ``other``. The default follows
            from the losses of torch.
        task_ids: whether each experience is given a task id, for methods such as ``packnet``.
        input_shape: shape of one input, for ``generative_replay``.
        samples: maximum number of seen examples of an experience from which methods sample at its end, if its data is
            not given.
        seed: seed of the methods, at least 0.

    Returns:
        A guard, whose experiences enclose the training: ``with guard.experience(data): ...``.

    Raises:
        UnsupportedError: a method does not support the model; the message contains the name and the reason.
    """
    if not methods:
        raise UnsupportedError("methods: expected at least one method, for example [rlcl.Ewc(strength=100)]")
    seeds = Seeds(seed)
    if not isinstance(model, nn.Module):
        return _protect_sb3(model, methods, seeds, optimizer is not None or loss is not None)
    _check_optimizer(model, optimizer)
    _check_loss(loss)
    assert optimizer is not None
    host = ModelHost(
        model,
        optimizer,
        loss,
        _kind(kind, loss, methods),
        task_ids,
        None if input_shape is None else tuple(input_shape),
        ReservoirMemory(samples, seeds.child("samples").numpy()),
    )
    return ModelGuard(host, methods, seeds)


def _protect_sb3(model: Any, methods: Sequence[Method], seeds: Seeds, more: bool) -> Guard[Any]:
    # Whoever has such a model has imported the library.
    base = getattr(sys.modules.get("stable_baselines3.common.base_class"), "BaseAlgorithm", None)
    if base is None or not isinstance(model, base):
        raise UnsupportedError(
            f"model: expected a torch module or a model of Stable-Baselines3, got {type(model).__name__}"
        )
    if more:
        raise UnsupportedError("a model of Stable-Baselines3 has its own optimizer and loss; give the methods only")
    from rlcl.protection.sb3_guard import Sb3Guard

    return Sb3Guard.of(model, methods, seeds)


def _check_optimizer(model: nn.Module, optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise UnsupportedError(f"optimizer: expected an optimizer of torch, got {type(optimizer).__name__}")
    if isinstance(optimizer, LBFGS):
        raise UnsupportedError("optimizer: LBFGS computes several gradients in a step, which methods do not see")
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise UnsupportedError("optimizer: it has none of the parameters of the model; create it after the model")


def _check_loss(loss: Any) -> None:
    if loss is not None and not callable(loss):
        raise UnsupportedError(f"loss: expected a function of outputs and targets, got {type(loss).__name__}")
    if getattr(loss, "reduction", "mean") != "mean":
        raise UnsupportedError(f"loss: expected the mean over the minibatch, and its reduction is {loss.reduction}")


def _kind(kind: str | None, loss: Any, methods: Sequence[Method]) -> str:
    """Return the kind of the outputs; see :attr:`rlcl.types.Host.kind`.

    Raises:
        UnsupportedError: it is unknown, or a method needs it and it does not follow from the loss.
    """
    if kind is not None:
        if kind not in KINDS:
            raise UnsupportedError(f"kind: expected one of {', '.join(KINDS)}; got {kind!r}")
        return kind
    for name, (classes, functions) in LOSSES.items():
        if isinstance(loss, classes) or loss in functions:
            return name
    for index, method in enumerate(methods):
        if method.kinds is not None:
            raise UnsupportedError(
                f"methods[{index}]: {name_of('method', method)} needs the meaning of the outputs, which does not "
                f"follow from the loss; set kind to one of {', '.join(KINDS)}"
            )
    return "other"
