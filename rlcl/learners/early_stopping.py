"""Stops an experience when the validation loss no longer falls, and keeps the best weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen
from torch import Tensor, nn

from rlcl.config import option
from rlcl.state import cloned

__all__ = ["EarlyStopping", "Watch"]


@frozen(kw_only=True)
class EarlyStopping:
    """When to stop learning from an experience before its budget is spent.

    Args:
        patience: checks without a lower validation loss after which it stops; None never stops.
        min_delta: by how much a loss must be lower to count, at least 0.
        restore_best: whether the experience ends with the weights of the lowest validation loss.
        every: updates between two checks; None for an epoch.

    Source: Prechelt 1998, Early stopping - but when?
    """

    patience: int | None = option(5, ge=1)
    min_delta: float = option(0.0, ge=0)
    restore_best: bool = option(True)
    every: int | None = option(None, ge=1)


@define(eq=False)
class Watch:
    """What the checks of one experience have found so far.

    Args:
        options: None never checks.
    """

    options: EarlyStopping | None
    least: float = field(init=False, default=math.inf)
    without: int = field(init=False, default=0)
    best: dict[str, dict[str, Tensor]] | None = field(init=False, default=None)

    def start(self) -> None:
        """Forgets the experience before."""
        self.least, self.without, self.best = math.inf, 0, None

    def due(self, update: int, epoch: int, finished: bool) -> bool:
        """Whether to check after so many updates of an experience, of which an epoch has ``epoch``."""
        return self.options is not None and (finished or update % (self.options.every or epoch) == 0)

    def observe(self, loss: float, modules: Mapping[str, nn.Module]) -> bool:
        """Notes the validation loss of modules by name, and says whether to stop."""
        assert self.options is not None
        if loss < self.least - self.options.min_delta:
            self.least, self.without = loss, 0
            if self.options.restore_best:
                self.best = cloned({name: dict(module.state_dict()) for name, module in modules.items()})
        else:
            self.without += 1
        return self.options.patience is not None and self.without >= self.options.patience

    def restore(self, modules: Mapping[str, nn.Module]) -> None:
        """Gives the modules their best weights back."""
        for name, state in (self.best or {}).items():
            modules[name].load_state_dict(state)
        self.best = None

    def reopen(self, modules: Mapping[str, nn.Module]) -> None:
        """Takes up the checks of an experience that has ended: its weights are the best so far."""
        if self.options is not None and self.options.restore_best:
            self.best = cloned({name: dict(module.state_dict()) for name, module in modules.items()})

    def state_dict(self) -> dict[str, Any]:
        return {"least": self.least, "without": self.without, "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.least, self.without, self.best = state["least"], state["without"], state["best"]
