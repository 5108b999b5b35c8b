"""Early stopping on the validation loss, with the best weights of an experience."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen
from torch import Tensor, nn

from rlcl.config import option
from rlcl.state import clone_state

__all__ = ["EarlyStopping", "EarlyStoppingMonitor"]


@frozen(kw_only=True)
class EarlyStopping:
    """Settings for stopping the training on an experience before its budget is used up.

    Args:
        patience: checks without a lower validation loss after which training stops; None to never stop.
        min_delta: minimum decrease of the loss that counts as lower, at least 0.
        restore_best: whether the experience ends with the weights of the lowest validation loss.
        every: updates between two checks; None for one epoch.

    Source: Prechelt 1998, Early stopping - but when?
    """

    patience: int | None = option(5, ge=1)
    min_delta: float = option(0.0, ge=0)
    restore_best: bool = option(True)
    every: int | None = option(None, ge=1)


@define(eq=False)
class EarlyStoppingMonitor:
    """Lowest validation loss of one experience so far, with the weights at that point.

    Args:
        options: settings; None for no checks.
    """

    options: EarlyStopping | None
    lowest_loss: float = field(init=False, default=math.inf)
    checks_without_improvement: int = field(init=False, default=0)
    best: dict[str, dict[str, Tensor]] | None = field(init=False, default=None)  # weights by module and name

    def start(self) -> None:
        """Reset the monitor for a new experience."""
        self.lowest_loss, self.checks_without_improvement, self.best = math.inf, 0, None

    def due(self, update: int, epoch: int, finished: bool) -> bool:
        """Return whether a check is due after ``update`` updates of an experience.

        Args:
            update: updates done in the experience.
            epoch: updates in an epoch.
            finished: whether this was the last update of the budget.
        """
        return self.options is not None and (finished or update % (self.options.every or epoch) == 0)

    def observe(self, loss: float, modules: Mapping[str, nn.Module]) -> bool:
        """Record a validation loss and return whether to stop.

        Args:
            loss: validation loss of the modules.
            modules: modules by name, whose weights are copied if the loss is the lowest so far.
        """
        assert self.options is not None
        if loss < self.lowest_loss - self.options.min_delta:
            self.lowest_loss, self.checks_without_improvement = loss, 0
            if self.options.restore_best:
                self.best = clone_state({name: dict(module.state_dict()) for name, module in modules.items()})
        else:
            self.checks_without_improvement += 1
        return self.options.patience is not None and self.checks_without_improvement >= self.options.patience

    def restore(self, modules: Mapping[str, nn.Module]) -> None:
        """Load the best weights into the modules."""
        for name, state in (self.best or {}).items():
            modules[name].load_state_dict(state)
        self.best = None

    def reopen(self, modules: Mapping[str, nn.Module]) -> None:
        """Resume the checks of a finished experience, whose weights are the best so far."""
        if self.options is not None and self.options.restore_best:
            self.best = clone_state({name: dict(module.state_dict()) for name, module in modules.items()})

    def state_dict(self) -> dict[str, Any]:
        return {"least": self.lowest_loss, "without": self.checks_without_improvement, "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.lowest_loss, self.checks_without_improvement = state["least"], state["without"]
        self.best = state["best"]
