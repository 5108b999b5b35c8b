"""Attributes of torch modules that use task ids, for example modules with one head per task."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["call_network", "called_networks", "divides_batches", "enable_task_ids", "takes_task_ids"]


def takes_task_ids(module: nn.Module) -> bool:
    """Return whether a module is called with ``task_ids`` (B,) as a second argument.

    The module declares it by the attribute ``takes_task_ids``. It may be a user's module, and a wrapper would change
    the names of its parameters.
    """
    return bool(getattr(module, "takes_task_ids", False))


def call_network(module: nn.Module, x: Tensor, task_ids: Tensor | None) -> Tensor:
    """Return the outputs of a module for inputs (B, ...), called with ``task_ids`` (B,) if it takes them."""
    outputs: Tensor = module(x, task_ids) if takes_task_ids(module) else module(x)
    return outputs


def divides_batches(module: nn.Module) -> bool:
    """Return whether a module processes the rows of each task with separate layers, by its ``divides_batches``."""
    return bool(getattr(module, "divides_batches", False))


def called_networks(module: nn.Module) -> tuple[nn.Module, ...]:
    """Return the networks of a module that are called: the module itself, or its ``side_by_side``."""
    return getattr(module, "side_by_side", (module,))


def enable_task_ids(module: nn.Module) -> None:
    """Declare that a module is called with task ids from now on."""
    module.takes_task_ids = True  # type: ignore[assignment]
