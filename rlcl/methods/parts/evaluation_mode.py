"""Context manager for a module in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluation_mode"]


@contextmanager
def evaluation_mode(module: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Set a module to evaluation mode (no dropout, running statistics), by default without gradients."""
    training = module.training
    module.eval()
    try:
        with torch.set_grad_enabled(gradients):
            yield
    finally:
        module.train(training)
