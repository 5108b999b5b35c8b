"""The monitor: requests and feedback go in as they come, lines of ``drift.jsonl`` come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import numpy as np
from attrs import define, field, frozen

from rlcl.deploy.log import Page
from rlcl.deploy.monitoring.comparisons import Finding, Moved
from rlcl.deploy.monitoring.losses import losses_of
from rlcl.deploy.monitoring.performance import DELTA, Change, Performance
from rlcl.deploy.monitoring.reference import KINDS, Reference
from rlcl.deploy.monitoring.statistics import spent

__all__ = ["BLOCK", "Line", "Monitor", "Settings"]

Array = np.ndarray[Any, Any]
Line = dict[str, Any]

BLOCK = 100  # answers whose feedback is looked at together


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
    is left out. Lines depend on the log alone, not on how it is cut into pages.

    Args:
        find: gives a bundle's reference by its digest; None where it is not there any more, and nothing is compared.
        settings: how closely is looked.
    """

    find: Callable[[str], Reference | None]
    settings: Settings = field(factory=Settings)
    after: int = field(init=False, default=0)  # number of the last request of the last window
    windows: int = field(init=False, default=0)
    _alarmed: dict[str, bool] = field(init=False, factory=dict)
    _parts: list[Page] = field(init=False, factory=list)
    _watches: dict[str, Performance] = field(init=False, factory=dict)
    _references: dict[str, Reference | None] = field(init=False, factory=dict)

    @property
    def seen(self) -> int:
        """Number of the last request that was taken in."""
        return int(self._parts[-1].numbers[-1]) if self._parts else self.after

    def observe(self, page: Page) -> Iterator[Line]:
        """Takes requests in, in the order of their numbers, and gives a line a full window and one an alarm.

        Args:
            page: any number of requests of one bundle, right behind those before.
        """
        if self._parts and self._parts[-1].bundle != page.bundle:
            self.after, self._parts = self.seen, []
        start = 0
        while start < len(page.numbers):
            held = sum(len(part.numbers) for part in self._parts)
            part = _rows(page, start, start + self.settings.window - held)
            self._parts.append(part)
            start += len(part.numbers)
            if held + len(part.numbers) == self.settings.window:
                whole, self._parts = _joined(self._parts), []
                self.after = int(whole.numbers[-1])
                yield from self._compared(whole)

    def begin_log(self) -> None:
        """Goes on with another log, whose requests are numbered from 1 again; windows go on being counted."""
        self.after, self._parts = 0, []

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

    def _compared(self, page: Page) -> Iterator[Line]:
        self.windows += 1
        reference = self._reference(page.bundle)
        level = spent(self.windows, self.settings.alpha) / len(KINDS)
        where = {"window": self.windows, **_where(page)}
        found: dict[str, Finding] = {}
        if reference is not None:
            tables = reference.tables(page.inputs, page.outputs)
            found = {kind: reference.comparisons[kind].of(tables[kind], level) for kind in KINDS}
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
        return {"after": self.after, "windows": self.windows, "alarmed": dict(self._alarmed), "watches": watches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Args:
            state: what :meth:`state_dict` gave, also by way of JSON.
        """
        self.after, self.windows = int(state["after"]), int(state["windows"])
        self._alarmed, self._parts, self._watches = dict(state["alarmed"]), [], {}
        for bundle, kept in state["watches"].items():
            self._watch(bundle, unit=False).load_state_dict(kept)


def _rows(page: Page, start: int, end: int) -> Page:
    part = slice(start, end)
    return attrs.evolve(
        page,
        numbers=page.numbers[part],
        times=page.times[part],
        task_ids=page.task_ids[part],
        inputs={name: array[part] for name, array in page.inputs.items()},
        outputs={name: array[part] for name, array in page.outputs.items()},
        feedback=page.feedback[part],
    )


def _joined(pages: list[Page]) -> Page:
    first = pages[0]
    return attrs.evolve(
        first,
        numbers=np.concatenate([p.numbers for p in pages]),
        times=np.concatenate([p.times for p in pages]),
        task_ids=[task_id for p in pages for task_id in p.task_ids],
        inputs={name: np.concatenate([p.inputs[name] for p in pages]) for name in first.inputs},
        outputs={name: np.concatenate([p.outputs[name] for p in pages]) for name in first.outputs},
        feedback=[value for p in pages for value in p.feedback],
    )


def _where(page: Page) -> Line:
    """Which requests a line is about, and when they came (seconds since 1970)."""
    return {
        "bundle": page.bundle,
        "requests": [int(page.numbers.min()), int(page.numbers.max())],
        "times": [float(page.times.min()), float(page.times.max())],
    }


def _told(finding: Finding) -> Line:
    worst: Moved = finding.worst
    return {**attrs.asdict(worst), "threshold": finding.threshold, "count": finding.count}


def _performance_alarm(change: Change, where: Line, delta: float) -> Line:
    return {
        "line": "alarm", "kind": "performance", **where, "what": "loss", "statistic": change.after - change.before,
        "p": None, "threshold": delta, "count": 1, "before": change.before, "after": change.after,
    }  # fmt: skip
