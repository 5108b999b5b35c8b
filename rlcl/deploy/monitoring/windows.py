"""Windows of requests that are compared together: successive requests, or every k-th one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
from attrs import define, field, frozen

from rlcl.deploy.log import AnswerPage
from rlcl.deploy.monitoring.comparisons import WindowComparison

__all__ = ["RequestWindows", "Window", "select_rows"]

Array = np.ndarray[Any, Any]


@frozen(kw_only=True, eq=False)
class Window:
    """A full window and its comparisons.

    Args:
        requests: numbers of the first and the last request.
        times: times of the first and the last request, in seconds since 1970.
        tables: (B, ...) compared values by kind; empty if there is no reference.
        comparisons: comparisons by kind; empty if there is no reference.
        details: additional keys of the window's line.
    """

    requests: tuple[int, int]
    times: tuple[float, float]
    tables: Mapping[str, Array]
    comparisons: Mapping[str, WindowComparison]
    details: Mapping[str, int]


@define(eq=False)
class RequestWindows:
    """A collector of the requests of one bundle, one window at a time.

    Args:
        size: number of requests in a window.
        stride: distance between the requests of a window; 1 takes all.
        after: number of the last request that is already in a window, or the number before the first request.
    """

    size: int
    stride: int
    after: int
    _parts: list[AnswerPage] = field(init=False, factory=list)
    _passed: int = field(init=False, default=0)  # requests since ``after``, selected or not

    def take(self, page: AnswerPage) -> Iterator[AnswerPage]:
        """Add requests, and yield each window that they complete.

        Args:
            page: the next requests of the log; those that were added before are skipped.
        """
        start = int(np.searchsorted(page.numbers, self.after, "right"))
        while start < len(page.numbers):
            end = min(start + self.size * self.stride - self._passed, len(page.numbers))
            selected = np.arange(start + -self._passed % self.stride, end, self.stride)
            self._parts.append(select_rows(page, selected))
            self._passed += end - start
            start = end
            if self._passed == self.size * self.stride:
                self.after, self._passed = int(page.numbers[end - 1]), 0
                window, self._parts = _concatenate(self._parts), []
                yield window

    def leave_out(self, number: int) -> None:
        """Discard the requests of the unfinished window, and continue after the request with this number."""
        self.after, self._passed, self._parts = number, 0, []

    def before(self, last: int) -> int:
        """Return the number of the request after which reading has to resume if ``last`` was the last one read."""
        return self.after if self._passed else last


def select_rows(page: AnswerPage, rows: Array) -> AnswerPage:
    """Return some rows of a page, by their indices."""
    return attrs.evolve(
        page,
        numbers=page.numbers[rows],
        times=page.times[rows],
        task_ids=[page.task_ids[row] for row in rows],
        inputs={name: array[rows] for name, array in page.inputs.items()},
        outputs={name: array[rows] for name, array in page.outputs.items()},
        feedback=[page.feedback[row] for row in rows],
        episodes=[page.episodes[row] for row in rows],
    )


def _concatenate(pages: list[AnswerPage]) -> AnswerPage:
    first = pages[0]
    return attrs.evolve(
        first,
        numbers=np.concatenate([p.numbers for p in pages]),
        times=np.concatenate([p.times for p in pages]),
        task_ids=[task_id for p in pages for task_id in p.task_ids],
        inputs={name: np.concatenate([p.inputs[name] for p in pages]) for name in first.inputs},
        outputs={name: np.concatenate([p.outputs[name] for p in pages]) for name in first.outputs},
        feedback=[value for p in pages for value in p.feedback],
        episodes=[episode for p in pages for episode in p.episodes],
    )
