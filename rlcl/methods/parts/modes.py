"""Modules for a moment as they are when they predict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluating"]


@contextmanager
def evaluating(module: nn.Module, gradients: bool = False) -> Iterator[None]:
    """The module in evaluation mode (no dropout, running statistics), and without gradients."""
    training = module.training
    module.eval()
    try:
        with torch.set_grad_enabled(gradients):
            yield
    finally:
        module.train(training)
