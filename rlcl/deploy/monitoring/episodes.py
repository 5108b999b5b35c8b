"""Windows of whole episodes, from the requests of a policy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.log import AnswerPage
from rlcl.deploy.monitoring.episode_summaries import MAX_STEPS, EpisodeSummary
from rlcl.deploy.monitoring.reference import ReferenceSample
from rlcl.deploy.monitoring.windows import Window

__all__ = ["MIN_EPISODES", "EpisodeWindows"]

Array = np.ndarray[Any, Any]

MIN_EPISODES = 20  # in a window; with half as many, hardly any change is significant


@define(eq=False)
class ObservedEpisode:
    """One episode of a client.

    Args:
        name: name that the client has sent.
        first: number of the first request.
        first_time: time of the first request, in seconds since 1970.
    """

    name: str
    first: int
    first_time: float
    last: int = field(init=False)
    last_time: float = field(init=False)
    summary: EpisodeSummary = field(init=False, factory=EpisodeSummary)

    def __attrs_post_init__(self) -> None:
        self.last, self.last_time = self.first, self.first_time


@define(eq=False)
class EpisodeWindows:
    """A collector of whole episodes in the order of their first requests, one window at a time.

    The order of their last requests would favour short episodes. An episode has finished when it has reached the
    maximum length, or after ``quiet`` successive requests that do not belong to it.

    Args:
        reference: reference sample with episodes.
        requests: number of requests that a window should contain on average.
        last_requests: number of the last request, by name, of every episode that was in a window and may still
            continue.
    """

    reference: ReferenceSample
    requests: int
    last_requests: dict[str, int]
    size: int = field(init=False)
    last: int = field(init=False, default=0)  # number of the last request
    _open: dict[str, ObservedEpisode] = field(init=False, factory=dict)
    _pending: list[ObservedEpisode] = field(init=False, factory=list)  # episodes that are in no window yet
    _finished: int = field(init=False, default=0)  # number of finished episodes at the beginning of _pending

    def __attrs_post_init__(self) -> None:
        assert self.reference.episodes is not None
        mean_length = float(self.reference.episodes["inputs"][:, 0].mean())
        self.size = max(MIN_EPISODES, math.ceil(self.requests / mean_length))

    @property
    def quiet(self) -> int:
        """Number of successive requests outside an episode, after which it has finished."""
        return self.requests

    def take(self, page: AnswerPage) -> Iterator[Window]:
        """Add requests, and yield each window that they complete.

        Args:
            page: the next requests of the log, all with the names of their episodes.
        """
        tables = self.reference.step_tables(page.inputs, page.outputs)
        requests = zip(page.numbers.tolist(), page.times.tolist(), page.episodes, strict=True)
        for row, (number, time, name) in enumerate(requests):
            assert name is not None
            self._add_step(name, number, time, {kind: table[row] for kind, table in tables.items()})
            self.last = number
            while self._finished < len(self._pending) and self._has_finished(self._pending[self._finished]):
                self._finished += 1
            while self._finished >= self.size:
                yield self._window()

    def leave_out(self) -> None:
        """Discard the episodes that are in no window yet."""
        self.last_requests.update({episode.name: episode.last for episode in self._pending})
        self._open, self._pending, self._finished = {}, [], 0

    def before(self, last: int) -> int:
        """Return the number of the request after which reading has to resume if ``last`` was the last one read."""
        return self._pending[0].first - 1 if self._pending else last

    def _add_step(self, name: str, number: int, time: float, row: Mapping[str, Array]) -> None:
        previous = self.last_requests.get(name)
        if previous is not None and number - previous <= self.quiet:
            self.last_requests[name] = max(previous, number)
            return
        episode = self._open.get(name)
        if episode is None or number - episode.last > self.quiet:
            episode = self._open[name] = ObservedEpisode(name, number, time)
            self._pending.append(episode)
        episode.last, episode.last_time = number, time
        if episode.summary.steps < MAX_STEPS:
            episode.summary.add(row)

    def _has_finished(self, episode: ObservedEpisode) -> bool:
        return episode.summary.steps == MAX_STEPS or self.last - episode.last > self.quiet

    def _window(self) -> Window:
        episodes, self._pending = self._pending[: self.size], self._pending[self.size :]
        self._finished -= self.size
        for episode in episodes:
            self.last_requests[episode.name] = episode.last
            if self._open.get(episode.name) is episode:
                del self._open[episode.name]
        for name, last in list(self.last_requests.items()):
            # An episode is forgotten when it cannot continue and its requests will not be read again.
            if last <= self.before(self.last) and self.last - last > self.quiet:
                del self.last_requests[name]
        rows = [episode.summary.rows(self.reference.actions is not None) for episode in episodes]
        return Window(
            requests=(episodes[0].first, max(episode.last for episode in episodes)),
            times=(episodes[0].first_time, max(episode.last_time for episode in episodes)),
            tables={kind: np.stack([row[kind] for row in rows]) for kind in rows[0]},
            comparisons=self.reference.episode_comparisons,
            details={"episodes": self.size},
        )
