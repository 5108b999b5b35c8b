"""Requests of a policy, episode by episode."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.log import Page
from rlcl.deploy.monitoring.reference import Reference
from rlcl.deploy.monitoring.summaries import LONGEST, Summary
from rlcl.deploy.monitoring.windows import Window

__all__ = ["LEAST", "Episodes"]

Array = np.ndarray[Any, Any]

LEAST = 20  # episodes of a window: with half as many hardly anything is certain enough


@define(eq=False)
class Episode:
    """One that has begun.

    Args:
        name: as its client has it.
        first: the number of its first request.
        begun: when that came.
    """

    name: str
    first: int
    begun: float
    last: int = field(init=False)
    ended: float = field(init=False)
    summary: Summary = field(init=False, factory=Summary)

    def __attrs_post_init__(self) -> None:
        self.last, self.ended = self.first, self.begun


@define(eq=False)
class Episodes:
    """Collects whole episodes in the order of their beginning, a window at a time.

    That order does not favour short ones, as that of their ends would. An episode has ended when it is as long as any
    may be, or when ``quiet`` further requests have come without one of it.

    Args:
        reference: with episodes.
        requests: that a window should hold, on average.
        judged: the last request of every episode that was in a window and may still go on, by its name.
    """

    reference: Reference
    requests: int
    judged: dict[str, int]
    size: int = field(init=False)
    seen: int = field(init=False, default=0)  # number of the last request
    _open: dict[str, Episode] = field(init=False, factory=dict)
    _begun: list[Episode] = field(init=False, factory=list)  # that are in no window yet
    _over: int = field(init=False, default=0)  # of those, the first so many have ended

    def __attrs_post_init__(self) -> None:
        assert self.reference.episodes is not None
        self.size = max(LEAST, math.ceil(self.requests / float(self.reference.episodes["inputs"][:, 0].mean())))

    @property
    def quiet(self) -> int:
        """Further requests without one of an episode, after which it has ended."""
        return self.requests

    def take(self, page: Page) -> Iterator[Window]:
        """Full windows, once they are.

        Args:
            page: what follows in the log, all with the names of episodes.
        """
        tables = self.reference.steps(page.inputs, page.outputs)
        told = zip(page.numbers.tolist(), page.times.tolist(), page.episodes, strict=True)
        for row, (number, time, name) in enumerate(told):
            assert name is not None
            self._step(name, number, time, {kind: table[row] for kind, table in tables.items()})
            self.seen = number
            while self._over < len(self._begun) and self._has_ended(self._begun[self._over]):
                self._over += 1
            while self._over >= self.size:
                yield self._window()

    def leave_out(self) -> None:
        """What has begun will be in no window."""
        self.judged.update({episode.name: episode.last for episode in self._begun})
        self._open, self._begun, self._over = {}, [], 0

    def before(self, seen: int) -> int:
        """Number of the request behind which one has to read again to go on from here, the last one being ``seen``."""
        return self._begun[0].first - 1 if self._begun else seen

    def _step(self, name: str, number: int, time: float, row: Mapping[str, Array]) -> None:
        known = self.judged.get(name)
        if known is not None and number - known <= self.quiet:
            self.judged[name] = max(known, number)
            return
        episode = self._open.get(name)
        if episode is None or number - episode.last > self.quiet:
            episode = self._open[name] = Episode(name, number, time)
            self._begun.append(episode)
        episode.last, episode.ended = number, time
        if episode.summary.steps < LONGEST:
            episode.summary.add(row)

    def _has_ended(self, episode: Episode) -> bool:
        return episode.summary.steps == LONGEST or self.seen - episode.last > self.quiet

    def _window(self) -> Window:
        chosen, self._begun = self._begun[: self.size], self._begun[self.size :]
        self._over -= self.size
        for episode in chosen:
            self.judged[episode.name] = episode.last
            if self._open.get(episode.name) is episode:
                del self._open[episode.name]
        for name, last in list(self.judged.items()):
            if last <= self.before(self.seen) and self.seen - last > self.quiet:  # neither goes on nor is read again
                del self.judged[name]
        rows = [episode.summary.rows(self.reference.actions is not None) for episode in chosen]
        return Window(
            requests=(chosen[0].first, max(episode.last for episode in chosen)),
            times=(chosen[0].begun, max(episode.ended for episode in chosen)),
            tables={kind: np.stack([row[kind] for row in rows]) for kind in rows[0]},
            comparisons=self.reference.of_episodes,
            about={"episodes": self.size},
        )
