"""Which requests are compared together: those that follow one another, or every so many-th of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
from attrs import define, field, frozen

from rlcl.deploy.log import Page
from rlcl.deploy.monitoring.comparisons import Comparison

__all__ = ["Requests", "Window", "rows_of"]

Array = np.ndarray[Any, Any]


@frozen(kw_only=True, eq=False)
class Window:
    """What is compared together.

    Args:
        requests: numbers of the first and the last one.
        times: when those came, in seconds since 1970.
        tables: (B, ...) what is compared, by kind; empty where there is nothing to compare with.
        comparisons: what they are compared with, by kind.
        about: what a reader of its line has to know besides.
    """

    requests: tuple[int, int]
    times: tuple[float, float]
    tables: Mapping[str, Array]
    comparisons: Mapping[str, Comparison]
    about: Mapping[str, int]


@define(eq=False)
class Requests:
    """Collects requests of one bundle, a window at a time.

    Args:
        size: requests of a window.
        every: of so many successive requests the first is in a window; 1 takes all.
        after: number of the last request that is in a window already, or before all.
    """

    size: int
    every: int
    after: int
    _parts: list[Page] = field(init=False, factory=list)
    _passed: int = field(init=False, default=0)  # since ``after``, taken or not

    def take(self, page: Page) -> Iterator[Page]:
        """Full windows, once they are.

        Args:
            page: what follows in the log; what is known already is passed over.
        """
        start = int(np.searchsorted(page.numbers, self.after, "right"))
        while start < len(page.numbers):
            end = min(start + self.size * self.every - self._passed, len(page.numbers))
            chosen = np.arange(start + -self._passed % self.every, end, self.every)
            self._parts.append(rows_of(page, chosen))
            self._passed += end - start
            start = end
            if self._passed == self.size * self.every:
                self.after, self._passed = int(page.numbers[end - 1]), 0
                whole, self._parts = _joined(self._parts), []
                yield whole

    def leave_out(self, number: int) -> None:
        """Begins anew behind a request."""
        self.after, self._passed, self._parts = number, 0, []

    def before(self, seen: int) -> int:
        """Number of the request behind which one has to read again to go on from here, the last one being ``seen``."""
        return self.after if self._passed else seen


def rows_of(page: Page, rows: Array) -> Page:
    """Some rows of a page, by their places."""
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
        episodes=[episode for p in pages for episode in p.episodes],
    )
