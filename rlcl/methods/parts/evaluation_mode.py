"""Context manager for a module in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluation_mode"]


@contextmanager
def evaluation_mode(module: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Set a module to evaluation mode (no dropout, running statistics), by default without gradients.

    On exit each layer has its former mode again: a user may keep some in evaluation mode, such as frozen batch norms.
    """
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        with torch.set_grad_enabled(gradients):
            yield
    finally:
        for layer, training in modes:
            layer.training = training
