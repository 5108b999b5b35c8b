"""The monitor: requests and feedback go in as they come, lines of ``drift.jsonl`` come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
from attrs import define, field, frozen

from rlcl.deploy.log import Page
from rlcl.deploy.monitoring.comparisons import Finding, Moved
from rlcl.deploy.monitoring.episodes import Episodes
from rlcl.deploy.monitoring.losses import losses_of
from rlcl.deploy.monitoring.performance import DELTA, Change, Performance
from rlcl.deploy.monitoring.reference import KINDS, Reference
from rlcl.deploy.monitoring.statistics import spent
from rlcl.deploy.monitoring.windows import Requests, Window, rows_of

__all__ = ["BLOCK", "Line", "Monitor", "Settings"]

Array = np.ndarray[Any, Any]
Line = dict[str, Any]

BLOCK = 100  # answers whose feedback is looked at together
THINNED = 100  # requests of a window, at least, where most are passed over


@frozen
class Settings:
    """How closely is looked.

    Args:
        window: requests that are compared together, at least 50.
        alpha: probability of a false alarm of inputs, encoded inputs and predictions over the whole life, in (0, 1).
        delta: of ADWIN, in (0, 1).
    """

    window: int = 500
    alpha: float = 0.01
    delta: float = DELTA


@define(eq=False)
class Monitor:
    """Watches one deployment.

    Windows hold consecutive requests of one bundle: where another bundle begins to answer, a window that is not full
    is left out. Requests of policies resemble their neighbours: those whose client names their episodes are compared
    by whole episodes, of others so few that they are independent. Lines depend on the log alone, not on how it is cut
    into pages.

    Args:
        find: gives a bundle's reference by its digest; None where it is not there any more, and nothing is compared.
        settings: how closely is looked.
    """

    find: Callable[[str], Reference | None]
    settings: Settings = field(factory=Settings)
    seen: int = field(init=False, default=0)  # number of the last request that was taken in
    windows: int = field(init=False, default=0)
    _alarmed: dict[str, bool] = field(init=False, factory=dict)
    _bundle: str | None = field(init=False, default=None)  # whose requests are collected
    _requests: Requests = field(init=False)
    _episodes: Episodes | None = field(init=False, default=None)
    _begin: int = field(init=False, default=0)  # requests up to this number are in windows, or left out
    _judged: dict[str, int] = field(init=False, factory=dict)  # see Episodes
    _watches: dict[str, Performance] = field(init=False, factory=dict)
    _references: dict[str, Reference | None] = field(init=False, factory=dict)

    @property
    def after(self) -> int:
        """Number of the request behind which one has to read again to go on from here."""
        if self._bundle is None:
            return self.seen
        before = self._requests.before(self.seen)
        return before if self._episodes is None else min(before, self._episodes.before(self.seen))

    def observe(self, page: Page) -> Iterator[Line]:
        """Takes requests in, in the order of their numbers, and gives a line a full window and one an alarm.

        Args:
            page: any number of requests of one bundle, right behind those before.
        """
        if self._bundle != page.bundle:
            self._change(page.bundle)
        for part in _runs(page) if self._episodes else [page]:
            self.seen = int(part.numbers[-1])
            for window in self._windows(part):
                yield from self._compared(window)

    def begin_log(self) -> None:
        """Goes on with another log, whose requests are numbered from 1 again; windows go on being counted."""
        self.seen, self._begin = 0, 0
        self._bundle, self._episodes, self._judged = None, None, {}

    def judge(self, page: Page) -> Iterator[Line]:
        """Takes feedback in, and gives a line about it and one an alarm.

        Args:
            page: answers of one bundle with their feedback, of one block of :meth:`rlcl.deploy.log.Log.arrived`.
        """
        losses = losses_of(page)
        known = np.isfinite(losses)
        where = _where(page)
        if not known.any():
            yield {"line": "feedback", **where, "answers": 0, "left_out": len(losses), "loss": None}
            return
        watch = self._watch(page.bundle, page.signature.kind == "classifier")
        changes = watch.watch(losses[known])
        loss = float(losses[known].mean())
        yield {
            "line": "feedback", **where, "answers": int(known.sum()), "left_out": int((~known).sum()), "loss": loss,
            "unit": page.signature.kind == "classifier",
            "held_out": float(watch.held_out.mean()) if len(watch.held_out) else None,
            "drift": any(change.worse for change in changes),
        }  # fmt: skip
        for change in changes:
            if change.worse:
                yield _performance_alarm(change, where, self.settings.delta)

    def _change(self, bundle: str) -> None:
        """Another bundle answers, or this one for the first time; what is in no window yet is left out."""
        if self._bundle is not None:
            self._begin = self.seen
        if self._episodes is not None:
            self._episodes.leave_out()
        self._bundle, reference, size = bundle, self._reference(bundle), self.settings.window
        every = 1 if reference is None else reference.every
        self._requests = Requests(max(min(size, THINNED), -(-size // every)), every, self._begin)
        episodes = reference is not None and reference.episodes is not None
        self._episodes = Episodes(reference, size, self._judged) if reference and episodes else None

    def _windows(self, page: Page) -> Iterator[Window]:
        """Full windows of requests whose episodes are all named or all not.

        Where there are both, what one way has collected is left out when the other's window is full: it may wait for
        ever, and would be read again and again.
        """
        if self._episodes is not None and page.episodes[0] is not None:
            for window in self._episodes.take(page):
                self._requests.leave_out(self._episodes.seen)
                yield window
            return
        for whole in self._requests.take(page):
            if self._episodes is not None:
                self._episodes.leave_out()
            yield self._window(whole)

    def _window(self, page: Page) -> Window:
        reference, every = self._reference(page.bundle), self._requests.every
        return Window(
            requests=(int(page.numbers[0]), int(page.numbers[-1])),
            times=(float(page.times.min()), float(page.times.max())),
            tables={} if reference is None else reference.tables(page.inputs, page.outputs),
            comparisons={} if reference is None else reference.comparisons,
            about={"every": every} if every > 1 else {},
        )

    def _compared(self, window: Window) -> Iterator[Line]:
        self.windows += 1
        level = spent(self.windows, self.settings.alpha) / len(KINDS)
        place = {"bundle": self._bundle, "requests": list(window.requests), "times": list(window.times)}
        where = {"window": self.windows, **place, **window.about}
        found = {kind: comparison.of(window.tables[kind], level) for kind, comparison in window.comparisons.items()}
        yield {"line": "window", **where, **{kind: _told(finding) for kind, finding in found.items()}}
        for kind, finding in found.items():
            begins = finding.count > 0 and not self._alarmed.get(kind)
            self._alarmed[kind] = finding.count > 0
            if begins:
                moved = [attrs.asdict(each) for each in finding.moved]
                yield {"line": "alarm", "kind": kind, **where, **_told(finding), "features": moved}

    def _reference(self, bundle: str) -> Reference | None:
        if bundle not in self._references:
            self._references[bundle] = self.find(bundle)
        return self._references[bundle]

    def _watch(self, bundle: str, unit: bool) -> Performance:
        if bundle not in self._watches:
            reference = self._reference(bundle)
            held_out = np.empty(0) if reference is None else reference.losses
            self._watches[bundle] = Performance(held_out, unit, self.settings.delta)
        return self._watches[bundle]

    def state_dict(self) -> dict[str, Any]:
        """As plain data, without the requests of the window that is not full: they are read again, behind ``after``."""
        watches = {bundle: watch.state_dict() for bundle, watch in self._watches.items()}
        requests = self._requests.after if self._bundle is not None else self._begin
        taken = {"after": self.after, "requests": requests, "judged": dict(self._judged)}
        return {**taken, "windows": self.windows, "alarmed": dict(self._alarmed), "watches": watches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Args:
            state: what :meth:`state_dict` gave, also by way of JSON.
        """
        self.seen, self.windows = int(state["after"]), int(state["windows"])
        self._begin, self._judged = int(state.get("requests", self.seen)), dict(state.get("judged", {}))
        self._bundle, self._episodes = None, None
        self._alarmed, self._watches = dict(state["alarmed"]), {}
        for bundle, kept in state["watches"].items():
            self._watch(bundle, unit=False).load_state_dict(kept)


def _runs(page: Page) -> Iterator[Page]:
    """A page cut where requests whose episode is named begin and end."""
    named = np.array([episode is not None for episode in page.episodes])
    cuts = [0, *(np.flatnonzero(named[1:] != named[:-1]) + 1).tolist(), len(named)]
    return (rows_of(page, np.arange(start, end)) for start, end in pairwise(cuts))


def _where(page: Page) -> Line:
    """Which requests a line is about, and when they came (seconds since 1970)."""
    return {
        "bundle": page.bundle,
        "requests": [int(page.numbers.min()), int(page.numbers.max())],
        "times": [float(page.times.min()), float(page.times.max())],
    }


def _told(finding: Finding) -> Line:
    worst: Moved = finding.worst
    counted = {"count": finding.count, "undecided": finding.undecided}
    return {**attrs.asdict(worst), "threshold": finding.threshold, **counted}


def _performance_alarm(change: Change, where: Line, delta: float) -> Line:
    return {
        "line": "alarm", "kind": "performance", **where, "what": "loss", "statistic": change.after - change.before,
        "p": None, "threshold": delta, "count": 1, "before": change.before, "after": change.after,
    }  # fmt: skip
