"""The parameters that a method acts on, read anew whenever an experience begins."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rlcl.types import Host

__all__ = ["add_gradients_of", "add_to_gradients", "device_of", "named_parameters"]


def named_parameters(host: Host, optimizer: str) -> dict[str, nn.Parameter]:
    """The trainable parameters of one optimizer by the module's names.

    Never kept from ``attach``: a growing head replaces its parameters.

    Args:
        host: the learner.
        optimizer: a key of ``host.optimizers``.
    """
    in_optimizer = {id(p) for group in host.optimizers[optimizer].param_groups for p in group["params"]}
    module = host.modules[optimizer]
    return {name: p for name, p in module.named_parameters() if p.requires_grad and id(p) in in_optimizer}


def device_of(host: Host) -> torch.device:
    """Where the host's primary module computes."""
    return next(host.modules[host.primary].parameters()).device


@torch.no_grad()
def add_to_gradients(parameters: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor]) -> None:
    """Adds to ``.grad``, which is None for a parameter that the loss did not reach."""
    reached = [(p, gradients[name]) for name, p in parameters.items() if name in gradients]
    for parameter, _ in reached:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    torch._foreach_add_([p.grad for p, _ in reached if p.grad is not None], [g for _, g in reached])


def add_gradients_of(loss: Tensor, parameters: Mapping[str, nn.Parameter]) -> None:
    """Adds a scalar's gradients to ``.grad``, and to no parameter but these, as ``backward`` would."""
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    add_to_gradients(parameters, {n: g for n, g in zip(parameters, gradients, strict=True) if g is not None})
