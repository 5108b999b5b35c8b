"""Gradients of an optimizer's parameters as one flat vector."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["flat_gradient", "flat_gradient_of", "write_flat_gradient"]

Parameters = Mapping[str, nn.Parameter]


def flat_gradient(parameters: Parameters) -> Tensor:
    """Return the ``.grad`` attributes as one vector (P,), with 0 for None."""
    return _flat(parameters, [p.grad for p in parameters.values()])


def flat_gradient_of(loss: Tensor, parameters: Parameters) -> Tensor:
    """Compute the gradient of a scalar as one vector (P,), without changing ``.grad``; 0 for unused parameters."""
    return _flat(parameters, torch.autograd.grad(loss, list(parameters.values()), allow_unused=True))


def _flat(parameters: Parameters, gradients: list[Tensor | None] | tuple[Tensor | None, ...]) -> Tensor:
    pairs = zip(parameters.values(), gradients, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).detach().flatten() for p, g in pairs])


@torch.no_grad()
def write_flat_gradient(parameters: Parameters, flat: Tensor) -> None:
    """Write a vector (P,) into the ``.grad`` attributes; None stays None if its part of the vector is 0."""
    parts = torch.split(flat, [p.numel() for p in parameters.values()])
    for parameter, part in zip(parameters.values(), parts, strict=True):
        if parameter.grad is not None:
            parameter.grad.copy_(part.view_as(parameter))
        elif bool(part.any()):
            parameter.grad = part.view_as(parameter).clone()
