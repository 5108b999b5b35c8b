"""Whether losses have grown: river's ADWIN, begun at the held-out level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, field, frozen

from rlcl.deploy.monitoring.runs import Runs
from rlcl.errors import UnsupportedError

__all__ = ["DELTA", "Change", "Performance"]

Array = np.ndarray[Any, Any]

DELTA = 0.002
MOST = 10_000  # losses that a watch goes back
BLOCK = NEWEST = 100  # losses that are looked at together
KEPT = 2_000  # of those, where it begins anew without a held-out level


@frozen
class Change:
    """A change of the mean loss.

    Args:
        before: mean of the losses that ADWIN cut off.
        after: mean of the newest hundred: what ADWIN keeps may still begin long before the change.
        worse: whether what it keeps is larger than what it cut off.
    """

    before: float
    after: float
    worse: bool


@define(eq=False)
class Performance:
    """Watches the losses of one bundle's answers, in the order in which they are given.

    ADWIN keeps a window of losses and cuts it where the means of two parts differ more than chance allows. Its bound
    is for values from 0 to 1, so losses are scaled and cut to that range: of classes they are there already, squared
    errors are divided by four times the held-out mean, and where nothing was held out (rewards) the first hundred,
    widened by half on both sides, are the range. Its bound is for independent values, too: of losses that come in runs
    the mean of so many is one value as their correlation time says. At the first change the held-out level has
    served; after it, and after 10,000 losses, it begins anew.

    Args:
        held_out: (N,) losses of the reference, shuffled here since they may be sorted by experience; or none.
        unit: whether losses are from 0 to 1 by their nature.
        delta: ADWIN's confidence.

    Source: Bifet & Gavalda 2007, "Learning from time-changing data with adaptive windowing".
    """

    held_out: Array
    unit: bool = False
    delta: float = DELTA
    losses: list[float] = field(init=False, factory=list)
    range: tuple[float, float] | None = field(init=False, default=None)
    seeded: bool = field(init=False, default=True)
    _adwin: Any = field(init=False)
    _runs: Runs = field(init=False, factory=Runs)
    _waiting: list[float] = field(init=False, factory=list)  # until they are a hundred

    def __attrs_post_init__(self) -> None:
        if self.unit:
            self.range = (0.0, 1.0)
        elif len(self.held_out):
            self.range = (0.0, 4 * float(self.held_out.mean()) or 1.0)
        self._begin([])

    def watch(self, losses: Array) -> list[Change]:
        """Takes losses in, and gives the changes that they show, for better and for worse.

        Args:
            losses: (B,) finite.
        """
        changes = []
        for loss in losses.tolist():
            self._waiting.append(loss)
            if len(self._waiting) == BLOCK:
                changes += self._block()
        return changes

    def _block(self) -> list[Change]:
        block, self._waiting = self._waiting, []
        if self.range is None:
            margin = (max(block) - min(block)) / 2 or 1.0
            self.range = (min(block) - margin, max(block) + margin)
        again: list[float] = []
        if self._runs.take(block):  # what ADWIN knows is of means of another number of losses
            again, self.losses = self.losses, []
            self._begin([])
        return [change for loss in (*again, *block) if (change := self._take(loss))]

    def _take(self, loss: float) -> Change | None:
        self.losses.append(loss)
        if len(self.losses) % self._runs.length == 0:
            width, total = self._adwin.width, self._adwin.total
            scaled = float(np.mean([self._scaled(each) for each in self.losses[-self._runs.length :]]))
            self._adwin.update(scaled)
            if self._adwin.drift_detected:
                return self._changed(width + 1, total + scaled)
        if len(self.losses) >= MOST:
            self._begin([] if self.seeded and len(self.held_out) else self.losses[-KEPT:])
        return None

    def _changed(self, width: int, total: float) -> Change:
        low, high = self.range or (0.0, 1.0)
        before = (total - self._adwin.total) / max(width - self._adwin.width, 1)
        worse, newest = self._adwin.estimation > before, float(np.mean(self.losses[-NEWEST:]))
        self.seeded = False
        self._runs.leave_out()
        self._begin([])
        return Change(low + before * (high - low), newest, worse)

    def _begin(self, losses: Sequence[float]) -> None:
        try:
            from river.drift import ADWIN
        except ImportError as error:
            raise UnsupportedError(
                f"monitoring needs {error.name}; install it with pip install 'rlcl[serve]'"
            ) from error

        made: Any = ADWIN  # river has no types
        self._adwin = made(delta=self.delta)
        if self.seeded:
            for loss in np.random.default_rng(0).permutation(self.held_out).tolist():
                self._adwin.update(self._scaled(loss))
        self.losses = []
        for loss in losses:
            self._take(loss)

    def _scaled(self, loss: float) -> float:
        low, high = self.range or (0.0, 1.0)
        return min(max((loss - low) / (high - low), 0.0), 1.0)

    def state_dict(self) -> dict[str, Any]:
        """As plain data: the losses since it began, out of which the window is built again."""
        kept = {"losses": list(self.losses), "waiting": list(self._waiting), "runs": self._runs.state_dict()}
        return {**kept, "range": self.range, "seeded": self.seeded}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Args:
            state: what :meth:`state_dict` gave, also by way of JSON.
        """
        self.range = None if state["range"] is None else (float(state["range"][0]), float(state["range"][1]))
        self.seeded = bool(state["seeded"])
        self._waiting = [float(loss) for loss in state.get("waiting", ())]
        self._runs.load_state_dict(state.get("runs", {}))
        self._begin([float(loss) for loss in state["losses"]])
