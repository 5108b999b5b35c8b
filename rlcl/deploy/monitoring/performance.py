"""Detection of increased losses: river's ADWIN, started at the held-out level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, field, frozen

from rlcl.deploy.monitoring.loss_correlation import LossCorrelation
from rlcl.errors import UnsupportedError

__all__ = ["DELTA", "LossChange", "LossMonitor"]

Array = np.ndarray[Any, Any]

DELTA = 0.002
MAX_LOSSES = 10_000  # losses after which ADWIN is restarted
BLOCK = NEWEST = 100  # losses that are processed together
KEPT_LOSSES = 2_000  # newest losses that ADWIN is restarted with if there is no held-out level


@frozen
class LossChange:
    """A change of the mean loss.

    Args:
        before: mean of the losses that ADWIN dropped.
        after: mean of the newest 100 losses; the window that ADWIN keeps may start long before the change.
        worse: whether the mean of the window that ADWIN keeps is larger than that of the losses that it dropped.
    """

    before: float
    after: float
    worse: bool


@define(eq=False)
class LossMonitor:
    """A monitor of the losses of one bundle's answers, in the order of their feedback.

    ADWIN keeps a window of losses, and cuts it where the means of two parts differ by more than chance allows. Its
    bound is for values from 0 to 1, so losses are scaled and clipped to that range. Losses of classifiers are in it
    already. Squared errors are divided by four times the held-out mean. Without a held-out mean (rewards), the range is
    that of the first 100 losses, widened by half on both sides.

    The bound is also for independent values. Correlated losses are averaged over their correlation time
    (:class:`rlcl.deploy.monitoring.loss_correlation.LossCorrelation`), and each mean is one value. The held-out level
    is used until the first change. ADWIN is restarted after each change, and after 10,000 losses.

    Args:
        held_out: (N,) losses of the reference, or (0,). They are shuffled, since they may be sorted by experience.
        unit: whether losses are from 0 to 1 by definition.
        delta: ADWIN's confidence.

    Source: Bifet & Gavalda 2007, "Learning from time-changing data with adaptive windowing".
    """

    held_out: Array
    unit: bool = False
    delta: float = DELTA
    losses: list[float] = field(init=False, factory=list)
    range: tuple[float, float] | None = field(init=False, default=None)
    at_held_out_level: bool = field(init=False, default=True)
    _adwin: Any = field(init=False)
    _correlation: LossCorrelation = field(init=False, factory=LossCorrelation)
    _waiting: list[float] = field(init=False, factory=list)  # fewer losses than a block

    def __attrs_post_init__(self) -> None:
        if self.unit:
            self.range = (0.0, 1.0)
        elif len(self.held_out):
            self.range = (0.0, 4 * float(self.held_out.mean()) or 1.0)
        self._restart([])

    def observe(self, losses: Array) -> list[LossChange]:
        """Add losses, and return the changes that they reveal, for the better and for the worse.

        Args:
            losses: (B,) finite losses.
        """
        changes = []
        for loss in losses.tolist():
            self._waiting.append(loss)
            if len(self._waiting) == BLOCK:
                changes += self._process_block()
        return changes

    def _process_block(self) -> list[LossChange]:
        block, self._waiting = self._waiting, []
        if self.range is None:
            margin = (max(block) - min(block)) / 2 or 1.0
            self.range = (min(block) - margin, max(block) + margin)
        repeated: list[float] = []
        if self._correlation.update(block):  # ADWIN's values are means of another number of losses
            repeated, self.losses = self.losses, []
            self._restart([])
        return [change for loss in (*repeated, *block) if (change := self._add(loss))]

    def _add(self, loss: float) -> LossChange | None:
        self.losses.append(loss)
        if len(self.losses) % self._correlation.length == 0:
            width, total = self._adwin.width, self._adwin.total
            scaled = float(np.mean([self._scaled(value) for value in self.losses[-self._correlation.length :]]))
            self._adwin.update(scaled)
            if self._adwin.drift_detected:
                return self._change(width + 1, total + scaled)
        if len(self.losses) >= MAX_LOSSES:
            self._restart([] if self.at_held_out_level and len(self.held_out) else self.losses[-KEPT_LOSSES:])
        return None

    def _change(self, width: int, total: float) -> LossChange:
        low, high = self.range or (0.0, 1.0)
        before = (total - self._adwin.total) / max(width - self._adwin.width, 1)
        worse, newest = self._adwin.estimation > before, float(np.mean(self.losses[-NEWEST:]))
        self.at_held_out_level = False
        self._correlation.leave_out()
        self._restart([])
        return LossChange(low + before * (high - low), newest, worse)

    def _restart(self, losses: Sequence[float]) -> None:
        try:
            from river.drift import ADWIN
        except ImportError as error:
            raise UnsupportedError(
                f"monitoring needs {error.name}; install it with pip install 'rlcl[serve]'"
            ) from error

        make_adwin: Any = ADWIN  # river has no types
        self._adwin = make_adwin(delta=self.delta)
        if self.at_held_out_level:
            for loss in np.random.default_rng(0).permutation(self.held_out).tolist():
                self._adwin.update(self._scaled(loss))
        self.losses = []
        for loss in losses:
            self._add(loss)

    def _scaled(self, loss: float) -> float:
        low, high = self.range or (0.0, 1.0)
        return min(max((loss - low) / (high - low), 0.0), 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data. ADWIN's window is rebuilt from the losses since it was restarted."""
        state = {
            "losses": list(self.losses), "waiting": list(self._waiting), "runs": self._correlation.state_dict()
        }  # fmt: skip
        return {**state, "range": self.range, "seeded": self.at_held_out_level}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state.

        Args:
            state: result of :meth:`state_dict`, possibly after a round trip through JSON.
        """
        self.range = None if state["range"] is None else (float(state["range"][0]), float(state["range"][1]))
        self.at_held_out_level = bool(state["seeded"])
        self._waiting = [float(loss) for loss in state.get("waiting", ())]
        self._correlation.load_state_dict(state.get("runs", {}))
        self._restart([float(loss) for loss in state["losses"]])
