"""Whether a torch module chooses by the task id, as several heads do."""

from __future__ import annotations

from torch import nn

__all__ = ["divides_batches", "take_task_ids", "takes_task_ids"]


def takes_task_ids(module: nn.Module) -> bool:
    """Whether a module is called with ``task_ids`` (B,) as a second argument.

    It is torch's module, or a user's, which says so by the attribute ``takes_task_ids``: a wrapper would change the
    names of its parameters.
    """
    found: bool = getattr(module, "takes_task_ids", False)
    return found


def divides_batches(module: nn.Module) -> bool:
    """Whether a module passes the rows of each task through layers of their own; it says so as for task ids."""
    found: bool = getattr(module, "divides_batches", False)
    return found


def take_task_ids(module: nn.Module) -> None:
    """Call a module with task ids from now on."""
    module.takes_task_ids = True  # type: ignore[assignment]
