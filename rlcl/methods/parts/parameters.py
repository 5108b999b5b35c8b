"""Parameters of a host's optimizers, and additions to their gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rlcl.types import Host

__all__ = ["add_gradients_of", "add_to_gradients", "device_of", "named_parameters"]


def named_parameters(host: Host, optimizer: str) -> dict[str, nn.Parameter]:
    """Return the trainable parameters of one optimizer by their names in the module.

    Call this at the start of each experience: a head that grows replaces its parameters.

    Args:
        host: the learner.
        optimizer: a key of ``host.optimizers``.
    """
    in_optimizer = {id(p) for group in host.optimizers[optimizer].param_groups for p in group["params"]}
    module = host.modules[optimizer]
    return {name: p for name, p in module.named_parameters() if p.requires_grad and id(p) in in_optimizer}


def device_of(host: Host) -> torch.device:
    """Return the device of the host's primary module."""
    return next(host.modules[host.primary].parameters()).device


@torch.no_grad()
def add_to_gradients(parameters: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor]) -> None:
    """Add gradients to the ``.grad`` attributes, and create those that are None."""
    pairs = [(p, gradients[name]) for name, p in parameters.items() if name in gradients]
    for parameter, _ in pairs:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    torch._foreach_add_([p.grad for p, _ in pairs if p.grad is not None], [g for _, g in pairs])


def add_gradients_of(loss: Tensor, parameters: Mapping[str, nn.Parameter]) -> None:
    """Add the gradients of a scalar to ``.grad`` of these parameters only, as ``backward`` does."""
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    add_to_gradients(parameters, {n: g for n, g in zip(parameters, gradients, strict=True) if g is not None})
