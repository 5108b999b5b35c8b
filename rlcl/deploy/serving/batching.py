"""Batching of waiting requests into runs of the model."""

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

from rlcl.deploy.serving.loaded_model import LoadedModel
from rlcl.deploy.serving.request_errors import RequestError

__all__ = ["BatchResult", "Batcher"]

Array = np.ndarray[Any, Any]


@define(eq=False)
class PendingRequest:
    """A request in the queue, and the future of its answer."""

    loaded: LoadedModel
    arrays: dict[str, Array]
    task_id: int | None
    episodes: Sequence[str | None]
    rows: int
    answer: asyncio.Future[bytes]


@frozen(eq=False)
class BatchResult:
    """The inputs and outputs of one run of a model, for the log: B rows of one bundle."""

    loaded: LoadedModel
    time: float
    ids: Sequence[str]
    task_ids: Sequence[int | None]
    episodes: Sequence[str | None]
    arrays: Mapping[str, Array]
    outputs: Mapping[str, Array]


@define(eq=False)
class Batcher:
    """A queue of requests that are answered in batches, for one event loop.

    Args:
        max_rows: maximum number of rows in a run, except for a single larger request.
        max_wait: seconds to wait for more requests before a run.
        max_queue: maximum number of requests in the queue.
        on_result: function that is called with the result of every run.
        on_rows: function that is called with the number of rows of every run.
    """

    max_rows: int
    max_wait: float
    max_queue: int
    on_result: Callable[[BatchResult], None]
    on_rows: Callable[[float], None]
    _queue: deque[PendingRequest] = field(init=False, factory=deque)
    _not_empty: asyncio.Event = field(init=False, factory=asyncio.Event)
    _thread: ThreadPoolExecutor = field(init=False, factory=lambda: ThreadPoolExecutor(1, "model"))
    _prefix: str = field(init=False)
    _count: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        # Ids increase with time, so that the log's index grows only at its end. The random part differs by server.
        self._prefix = f"{int(time.time()):08x}{secrets.token_hex(4)}"

    def __len__(self) -> int:
        """Return the number of requests in the queue."""
        return len(self._queue)

    def submit(
        self, loaded: LoadedModel, arrays: dict[str, Array], task_id: int | None, episodes: Sequence[str] | None = None
    ) -> asyncio.Future[bytes]:
        """Add a valid request to the queue.

        Args:
            loaded: model that answers the request.
            arrays: (B, *shape) inputs by name.
            task_id: task id of all rows.
            episodes: names of the rows' episodes; None if the client did not name them.

        Returns:
            The future of the answer.

        Raises:
            RequestError: the queue is full.
        """
        if len(self._queue) >= self.max_queue:
            raise RequestError(503, "busy", "too many requests are waiting; try again", {"retry-after": "1"})
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        rows = len(arrays[loaded.signature.inputs[0].name])
        self._queue.append(PendingRequest(loaded, arrays, task_id, episodes or [None] * rows, rows, answer))
        self._not_empty.set()
        return answer

    async def work(self) -> None:
        """Answer requests until the task is cancelled."""
        while True:
            await self._not_empty.wait()
            self._not_empty.clear()
            while self._queue:
                if self.max_wait:
                    await asyncio.sleep(self.max_wait)
                if batch := self._take():
                    await self._answer(batch)
                await asyncio.sleep(0)  # lets the loop send the answers and read new requests

    def _take(self) -> list[PendingRequest]:
        """Remove the next batch from the queue: the oldest requests for one model, up to the maximum rows."""
        batch: list[PendingRequest] = []
        rows = 0
        while self._queue:
            first = self._queue[0]
            if batch and (first.loaded is not batch[0].loaded or rows + first.rows > self.max_rows):
                break
            self._queue.popleft()
            if not first.answer.done():  # else its timeout has expired
                batch.append(first)
                rows += first.rows
        return batch

    async def _answer(self, batch: list[PendingRequest]) -> None:
        try:
            result = await self._run(batch)
        except Exception as error:  # any error of ONNX Runtime, for example an index that is out of range in the graph
            if len(batch) > 1:
                for request in batch:
                    await self._answer([request])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        self.on_result(result)
        start = 0
        for request in batch:
            stop = start + request.rows
            if not request.answer.done():
                request.answer.set_result(result.loaded.answer(result.ids[start:stop], result.outputs, start, stop))
            start = stop

    async def _run(self, batch: list[PendingRequest]) -> BatchResult:
        loaded, arrays = batch[0].loaded, batch[0].arrays
        if len(batch) > 1:
            arrays = {name: np.concatenate([request.arrays[name] for request in batch]) for name in arrays}
        if loaded.quick:
            outputs = loaded.model.run(arrays)
        else:
            outputs = await asyncio.get_running_loop().run_in_executor(self._thread, loaded.model.run, arrays)
        rows = sum(request.rows for request in batch)
        self.on_rows(rows)
        ids = [f"{self._prefix}-{number:08x}" for number in range(self._count, self._count + rows)]
        self._count += rows
        task_ids = [request.task_id for request in batch for _ in range(request.rows)]
        episodes = [episode for request in batch for episode in request.episodes]
        return BatchResult(loaded, time.time(), ids, task_ids, episodes, arrays, outputs)

    def close(self) -> None:
        """Stop the thread of the model."""
        self._thread.shutdown(wait=False, cancel_futures=True)
