"""Torch optimizers as components, and the check of an optimizer that a component builds.

Adam uses torch's fused implementation. On a CPU too, its step takes half the time of the default (MLP 400-400), which
saves a fifth of an update. On a CPU the fused operation is called with less overhead
(:mod:`rlcl.learners.fast.fused_adam`). Plain SGD has no operations to fuse.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from attrs import frozen
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.fast.fused_adam import FusedAdam
from rlcl.registry import name_of
from rlcl.types import OptimizerFactory

__all__ = ["Adam", "AdamW", "RmsProp", "Sgd", "build_optimizer"]

logger = logging.getLogger(__name__)

Parameters = Iterable[torch.nn.Parameter]


@frozen(kw_only=True)
class Sgd:
    """Stochastic gradient descent.

    Args:
        lr: learning rate.
        momentum: momentum factor, in [0, 1).
        nesterov: whether Nesterov momentum is used.
        weight_decay: coefficient of the L2 penalty: this number times a weight is added to its gradient.
    """

    lr: float = option(0.01, gt=0)
    momentum: float = option(0.0, ge=0, lt=1)
    nesterov: bool = option(False)
    weight_decay: float = option(0.0, ge=0)

    def __attrs_post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: true needs a momentum above 0; set momentum, for example to 0.9")

    def build(self, parameters: Parameters) -> Optimizer:
        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )


@frozen(kw_only=True)
class Adam:
    """Adam (Kingma & Ba 2015).

    Args:
        lr: learning rate.
        betas: decay rates of the first and second moment, each in [0, 1).
        epsilon: constant added to the square root of the second moment.
        weight_decay: coefficient of the L2 penalty: this number times a weight is added to its gradient.
    """

    lr: float = option(1e-3, gt=0)
    betas: tuple[float, float] = option((0.9, 0.999), ge=0, lt=1)
    epsilon: float = option(1e-8, gt=0)
    weight_decay: float = option(0.0, ge=0)

    def build(self, parameters: Parameters) -> Optimizer:
        options: dict[str, Any] = {"lr": self.lr, "betas": self.betas, "eps": self.epsilon}
        options["weight_decay"] = self.weight_decay
        parameters = list(parameters)  # module.parameters() is an iterator
        if all(p.device.type == "cpu" for p in parameters):
            return FusedAdam(parameters, **options)
        return torch.optim.Adam(parameters, fused=True, **options)


@frozen(kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    Args:
        lr: learning rate.
        betas: decay rates of the first and second moment, each in [0, 1).
        epsilon: constant added to the square root of the second moment.
        weight_decay: decoupled weight decay; each update subtracts learning rate * weight_decay * weight.
    """

    lr: float = option(1e-3, gt=0)
    betas: tuple[float, float] = option((0.9, 0.999), ge=0, lt=1)
    epsilon: float = option(1e-8, gt=0)
    weight_decay: float = option(0.01, ge=0)

    def build(self, parameters: Parameters) -> Optimizer:
        return torch.optim.AdamW(
            parameters, lr=self.lr, betas=self.betas, eps=self.epsilon, weight_decay=self.weight_decay, fused=True
        )


@frozen(kw_only=True)
class RmsProp:
    """RMSprop (Hinton 2012, lecture 6).

    Args:
        lr: learning rate.
        alpha: decay rate of the average of the squared gradient, in [0, 1).
        epsilon: constant added to the square root of that average.
        momentum: momentum factor, in [0, 1).
    """

    lr: float = option(1e-3, gt=0)
    alpha: float = option(0.99, ge=0, lt=1)
    epsilon: float = option(1e-8, gt=0)
    momentum: float = option(0.0, ge=0, lt=1)

    def build(self, parameters: Parameters) -> Optimizer:
        return torch.optim.RMSprop(parameters, lr=self.lr, alpha=self.alpha, eps=self.epsilon, momentum=self.momentum)


def build_optimizer(factory: OptimizerFactory, parameters: Sequence[torch.nn.Parameter]) -> Optimizer:
    """Build an optimizer and check that a learner can use it.

    A warning is logged if the optimizer has not all of the parameters.

    Args:
        factory: factory of the optimizer.
        parameters: all parameters to be trained.

    Raises:
        UnsupportedError: the factory does not return a torch optimizer, or the optimizer's step needs a closure.
    """
    name, optimizer = name_of("optimizer", factory), factory.build(parameters)
    if not isinstance(optimizer, Optimizer):
        raise UnsupportedError(f"optimizer {name}: build must return a torch optimizer, got {type(optimizer).__name__}")
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise UnsupportedError(
            f"optimizer {name}: its step needs a closure that evaluates the loss again, which methods do not support; "
            "use an optimizer without a closure"
        )
    optimized = sum(len(group["params"]) for group in optimizer.param_groups)
    if optimized < len(parameters):
        logger.warning(
            "optimizer %s has %d of %d parameters; the other parameters are not trained",
            name,
            optimized,
            len(parameters),
        )
    return optimizer
