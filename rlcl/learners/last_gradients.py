"""The gradients of the last update, as a part of a learner's state.

An update replaces them, but a probe may read them before the next update of the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlcl.learners.fast.backprop import set_gradient

__all__ = ["last_gradients", "restore_gradients"]


def last_gradients(module: nn.Module) -> list[Tensor | None]:
    """Return the gradient of each parameter, None before the first update."""
    return [parameter.grad for parameter in module.parameters()]


def restore_gradients(module: nn.Module, gradients: Sequence[Tensor | None]) -> None:
    """Restore the gradients that :func:`last_gradients` returned."""
    with torch.no_grad():
        for parameter, gradient in zip(module.parameters(), gradients, strict=True):
            set_gradient(parameter, gradient)
