"""Requests that wait at the same time are answered by one run of the model."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from attrs import define, field, frozen

from rlcl.deploy.serving.refused import Refused
from rlcl.deploy.serving.served import Served

__all__ = ["Batcher", "Ran"]

Array = np.ndarray[Any, Any]


@define(eq=False)
class Waiting:
    """A request whose answer is awaited."""

    served: Served
    arrays: dict[str, Array]
    task_id: int | None
    episodes: Sequence[str | None]
    rows: int
    answer: asyncio.Future[bytes]


@frozen(eq=False)
class Ran:
    """What one run of the model has answered, for the log: B rows of one bundle."""

    served: Served
    time: float
    ids: Sequence[str]
    task_ids: Sequence[int | None]
    episodes: Sequence[str | None]
    arrays: Mapping[str, Array]
    outputs: Mapping[str, Array]


@define(eq=False)
class Batcher:
    """Joins requests; of one event loop.

    Args:
        max_rows: of a run, but for a single request of more.
        max_wait: seconds to wait for more requests before a run.
        max_queue: requests that may wait.
        keep: is told of every run.
        observe: is told the rows of every run.
    """

    max_rows: int
    max_wait: float
    max_queue: int
    keep: Callable[[Ran], None]
    observe: Callable[[float], None]
    _queue: deque[Waiting] = field(init=False, factory=deque)
    _wanted: asyncio.Event = field(init=False, factory=asyncio.Event)
    _thread: ThreadPoolExecutor = field(init=False, factory=lambda: ThreadPoolExecutor(1, "model"))
    _prefix: str = field(init=False)
    _count: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        # Ids grow with time, so that the log's index grows at its end alone; the random part tells servers apart.
        self._prefix = f"{int(time.time()):08x}{secrets.token_hex(4)}"

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    def submit(
        self, served: Served, arrays: dict[str, Array], task_id: int | None, episodes: Sequence[str] | None = None
    ) -> asyncio.Future[bytes]:
        """Asks for the answer to checked arrays.

        Args:
            served: the bundle that is asked.
            arrays: (B, *shape) by name.
            task_id: of all rows.
            episodes: that the rows are of; None where it is not said.

        Raises:
            Refused: too many wait already.
        """
        if len(self._queue) >= self.max_queue:
            raise Refused(503, "busy", "too many requests are waiting; try again", {"retry-after": "1"})
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        rows = len(arrays[served.signature.inputs[0].name])
        self._queue.append(Waiting(served, arrays, task_id, episodes or [None] * rows, rows, answer))
        self._wanted.set()
        return answer

    async def work(self) -> None:
        """Answers until it is cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._queue:
                if self.max_wait:
                    await asyncio.sleep(self.max_wait)
                if batch := self._take():
                    await self._answer(batch)
                await asyncio.sleep(0)  # the answers go out, and what has come meanwhile is read

    def _take(self) -> list[Waiting]:
        """The longest waiting requests that go together: to one bundle, and of so many rows."""
        batch: list[Waiting] = []
        rows = 0
        while self._queue:
            first = self._queue[0]
            if batch and (first.served is not batch[0].served or rows + first.rows > self.max_rows):
                break
            self._queue.popleft()
            if not first.answer.done():  # its client was told already that it took too long
                batch.append(first)
                rows += first.rows
        return batch

    async def _answer(self, batch: list[Waiting]) -> None:
        try:
            ran = await self._run(batch)
        except Exception as error:  # whatever ONNX Runtime raises, as for a value that its graph cannot look up
            if len(batch) > 1:
                for one in batch:
                    await self._answer([one])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        self.keep(ran)
        start = 0
        for one in batch:
            stop = start + one.rows
            if not one.answer.done():
                one.answer.set_result(ran.served.answer(ran.ids[start:stop], ran.outputs, start, stop))
            start = stop

    async def _run(self, batch: list[Waiting]) -> Ran:
        served, arrays = batch[0].served, batch[0].arrays
        if len(batch) > 1:
            arrays = {name: np.concatenate([one.arrays[name] for one in batch]) for name in arrays}
        if served.quick:
            outputs = served.model.run(arrays)
        else:
            outputs = await asyncio.get_running_loop().run_in_executor(self._thread, served.model.run, arrays)
        rows = sum(one.rows for one in batch)
        self.observe(rows)
        ids = [f"{self._prefix}-{number:08x}" for number in range(self._count, self._count + rows)]
        self._count += rows
        task_ids = [one.task_id for one in batch for _ in range(one.rows)]
        episodes = [episode for one in batch for episode in one.episodes]
        return Ran(served, time.time(), ids, task_ids, episodes, arrays, outputs)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
