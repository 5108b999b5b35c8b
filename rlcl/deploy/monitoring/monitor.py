"""Drift monitor that accesses no files.

It receives requests and feedback, and yields lines, which the caller can write to ``drift.jsonl``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
from attrs import define, field, frozen

from rlcl.deploy.log import AnswerPage
from rlcl.deploy.monitoring.comparisons import ComparisonResult, Difference
from rlcl.deploy.monitoring.episodes import EpisodeWindows
from rlcl.deploy.monitoring.losses import feedback_losses
from rlcl.deploy.monitoring.performance import DELTA, LossChange, LossMonitor
from rlcl.deploy.monitoring.reference import KINDS, ReferenceSample
from rlcl.deploy.monitoring.statistics import window_level
from rlcl.deploy.monitoring.windows import RequestWindows, Window, select_rows

__all__ = ["BLOCK", "DriftLine", "Monitor", "MonitorSettings"]

Array = np.ndarray[Any, Any]
DriftLine = dict[str, Any]

BLOCK = 100  # answers whose feedback is processed together
MIN_THINNED_REQUESTS = 100  # minimum requests in a window whose requests are thinned


@frozen
class MonitorSettings:
    """Settings of a monitor.

    Args:
        window: requests that are compared together, at least 50.
        alpha: probability of a false alarm for inputs, encoded inputs and predictions over the whole
            deployment, in (0, 1).
        delta: confidence of ADWIN, in (0, 1).
    """

    window: int = 500
    alpha: float = 0.01
    delta: float = DELTA


@define(eq=False)
class Monitor:
    """A monitor of one deployment.

    A window contains consecutive requests of one bundle. When another bundle starts to answer, the unfinished window is
    left out. Consecutive requests of a policy are correlated. If clients send episode ids, whole episodes are therefore
    compared. Otherwise only every k-th request is used, so that the used requests are nearly independent. The yielded
    lines depend only on the content of the log, not on the size of the pages (blocks of answers) in which it is read.

    Args:
        find_reference: function that returns the reference of a bundle by its digest, or None if the bundle no longer
            exists; its requests are then not compared.
        settings: settings of the monitor.
    """

    find_reference: Callable[[str], ReferenceSample | None]
    settings: MonitorSettings = field(factory=MonitorSettings)
    last_request: int = field(init=False, default=0)  # number of the last request that was added
    windows: int = field(init=False, default=0)
    _alarmed: dict[str, bool] = field(init=False, factory=dict)
    _bundle: str | None = field(init=False, default=None)  # digest of the bundle whose requests are collected
    _requests: RequestWindows = field(init=False)
    _episodes: EpisodeWindows | None = field(init=False, default=None)
    _windows_end: int = field(init=False, default=0)  # requests up to this number are in windows, or left out
    _last_requests: dict[str, int] = field(init=False, factory=dict)  # see EpisodeWindows
    _loss_monitors: dict[str, LossMonitor] = field(init=False, factory=dict)
    _references: dict[str, ReferenceSample | None] = field(init=False, factory=dict)

    @property
    def resume_after(self) -> int:
        """Number of the request after which reading has to resume."""
        if self._bundle is None:
            return self.last_request
        before = self._requests.before(self.last_request)
        return before if self._episodes is None else min(before, self._episodes.before(self.last_request))

    def observe(self, page: AnswerPage) -> Iterator[DriftLine]:
        """Add requests, and yield a line for each full window and for each alarm.

        Args:
            page: any number of requests of one bundle, in the order of their numbers, starting after the previous ones.
        """
        if self._bundle != page.bundle:
            self._change_bundle(page.bundle)
        for part in _split_by_naming(page) if self._episodes else [page]:
            self.last_request = int(part.numbers[-1])
            for window in self._windows(part):
                yield from self._compare(window)

    def begin_log(self) -> None:
        """Continue with another log, whose requests are numbered from 1 again; the count of windows continues."""
        self.last_request, self._windows_end = 0, 0
        self._bundle, self._episodes, self._last_requests = None, None, {}

    def observe_feedback(self, page: AnswerPage) -> Iterator[DriftLine]:
        """Add feedback, and yield a line about it and one for each alarm.

        Args:
            page: answers of one bundle with their feedback, from one block of
                :meth:`rlcl.deploy.log.RequestLog.first_feedback`.
        """
        losses = feedback_losses(page)
        known = np.isfinite(losses)
        location = _location(page)
        if not known.any():
            yield {"line": "feedback", **location, "answers": 0, "left_out": len(losses), "loss": None}
            return
        loss_monitor = self._loss_monitor(page.bundle, page.signature.kind == "classifier")
        changes = loss_monitor.observe(losses[known])
        loss = float(losses[known].mean())
        yield {
            "line": "feedback", **location, "answers": int(known.sum()), "left_out": int((~known).sum()), "loss": loss,
            "unit": page.signature.kind == "classifier",
            "held_out": float(loss_monitor.held_out.mean()) if len(loss_monitor.held_out) else None,
            "drift": any(change.worse for change in changes),
        }  # fmt: skip
        for change in changes:
            if change.worse:
                yield _performance_alarm(change, location, self.settings.delta)

    def _change_bundle(self, bundle: str) -> None:
        """Start to collect the requests of a bundle; requests that are in no window yet are left out."""
        if self._bundle is not None:
            self._windows_end = self.last_request
        if self._episodes is not None:
            self._episodes.leave_out()
        self._bundle, reference, size = bundle, self._reference(bundle), self.settings.window
        stride = 1 if reference is None else reference.stride
        thinned_size = max(min(size, MIN_THINNED_REQUESTS), -(-size // stride))
        self._requests = RequestWindows(thinned_size, stride, self._windows_end)
        has_episodes = reference is not None and reference.episodes is not None
        self._episodes = EpisodeWindows(reference, size, self._last_requests) if reference and has_episodes else None

    def _windows(self, page: AnswerPage) -> Iterator[Window]:
        """Yield full windows from requests that all have an episode id, or all have none.

        If the log contains both, a full window of one discards the unfinished window of the other, which might never
        be completed and would be read again each time.
        """
        if self._episodes is not None and page.episodes[0] is not None:
            for window in self._episodes.take(page):
                self._requests.leave_out(self._episodes.last)
                yield window
            return
        for requests in self._requests.take(page):
            if self._episodes is not None:
                self._episodes.leave_out()
            yield self._request_window(requests)

    def _request_window(self, page: AnswerPage) -> Window:
        reference, stride = self._reference(page.bundle), self._requests.stride
        return Window(
            requests=(int(page.numbers[0]), int(page.numbers[-1])),
            times=(float(page.times.min()), float(page.times.max())),
            tables={} if reference is None else reference.comparison_tables(page.inputs, page.outputs),
            comparisons={} if reference is None else reference.comparisons,
            details={"every": stride} if stride > 1 else {},
        )

    def _compare(self, window: Window) -> Iterator[DriftLine]:
        self.windows += 1
        level = window_level(self.windows, self.settings.alpha) / len(KINDS)
        place = {"bundle": self._bundle, "requests": list(window.requests), "times": list(window.times)}
        location = {"window": self.windows, **place, **window.details}
        results = {
            kind: comparison.compare(window.tables[kind], level) for kind, comparison in window.comparisons.items()
        }
        yield {"line": "window", **location, **{kind: _result_line(result) for kind, result in results.items()}}
        for kind, result in results.items():
            is_new = result.count > 0 and not self._alarmed.get(kind)
            self._alarmed[kind] = result.count > 0
            if is_new:
                features = [attrs.asdict(difference) for difference in result.significant]
                yield {"line": "alarm", "kind": kind, **location, **_result_line(result), "features": features}

    def _reference(self, bundle: str) -> ReferenceSample | None:
        if bundle not in self._references:
            self._references[bundle] = self.find_reference(bundle)
        return self._references[bundle]

    def _loss_monitor(self, bundle: str, unit: bool) -> LossMonitor:
        if bundle not in self._loss_monitors:
            reference = self._reference(bundle)
            held_out = np.empty(0) if reference is None else reference.losses
            self._loss_monitors[bundle] = LossMonitor(held_out, unit, self.settings.delta)
        return self._loss_monitors[bundle]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data, without requests of the unfinished window, which are read again."""
        loss_monitors = {bundle: monitor.state_dict() for bundle, monitor in self._loss_monitors.items()}
        windows_end = self._requests.after if self._bundle is not None else self._windows_end
        position = {"after": self.resume_after, "requests": windows_end, "judged": dict(self._last_requests)}
        return {**position, "windows": self.windows, "alarmed": dict(self._alarmed), "watches": loss_monitors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state.

        Args:
            state: result of :meth:`state_dict`, possibly after a round trip through JSON.
        """
        self.last_request, self.windows = int(state["after"]), int(state["windows"])
        self._windows_end = int(state.get("requests", self.last_request))
        self._last_requests = dict(state.get("judged", {}))
        self._bundle, self._episodes = None, None
        self._alarmed, self._loss_monitors = dict(state["alarmed"]), {}
        for bundle, loss_monitor_state in state["watches"].items():
            self._loss_monitor(bundle, unit=False).load_state_dict(loss_monitor_state)


def _split_by_naming(page: AnswerPage) -> Iterator[AnswerPage]:
    """Split a page into parts whose requests all have an episode id, or all have none."""
    named = np.array([episode is not None for episode in page.episodes])
    cuts = [0, *(np.flatnonzero(named[1:] != named[:-1]) + 1).tolist(), len(named)]
    return (select_rows(page, np.arange(start, end)) for start, end in pairwise(cuts))


def _location(page: AnswerPage) -> DriftLine:
    """Return the bundle, the requests and the times (seconds since 1970) that a line is about."""
    return {
        "bundle": page.bundle,
        "requests": [int(page.numbers.min()), int(page.numbers.max())],
        "times": [float(page.times.min()), float(page.times.max())],
    }


def _result_line(result: ComparisonResult) -> DriftLine:
    worst: Difference = result.worst
    counts = {"count": result.count, "undecided": result.undecided}
    return {**attrs.asdict(worst), "threshold": result.threshold, **counts}


def _performance_alarm(change: LossChange, location: DriftLine, delta: float) -> DriftLine:
    return {
        "line": "alarm", "kind": "performance", **location, "what": "loss", "statistic": change.after - change.before,
        "p": None, "threshold": delta, "count": 1, "before": change.before, "after": change.after,
    }  # fmt: skip
