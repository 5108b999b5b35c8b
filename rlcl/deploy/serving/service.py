"""What the server does, apart from HTTP: it predicts, takes feedback, and tells of itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any, TypeVar

import orjson
from attrs import define, field

from rlcl.deploy.deployment import Deployment
from rlcl.deploy.serving.batching import Batcher
from rlcl.deploy.serving.feedback import read_feedback
from rlcl.deploy.serving.metrics import Metrics, State
from rlcl.deploy.serving.refused import Refused, fault
from rlcl.deploy.serving.served import Served
from rlcl.deploy.serving.settings import Settings
from rlcl.deploy.serving.watching import Watcher
from rlcl.deploy.serving.writing import Silent, Writer

__all__ = ["Service"]

Value = TypeVar("Value")


@define(eq=False)
class Service:
    """One deployment at work.

    Args:
        deployment: of the bundle.
        settings: limits and what is kept.

    Raises:
        BundleError: the bundle or the log cannot be opened.
    """

    deployment: Deployment
    settings: Settings
    served: Served = field(init=False)
    draining: bool = field(init=False, default=False)
    metrics: Metrics = field(init=False)
    batcher: Batcher = field(init=False)
    writer: Writer | Silent = field(init=False)
    watcher: Watcher = field(init=False)

    def __attrs_post_init__(self) -> None:
        s = self.settings
        self.metrics = Metrics(self._state)
        self.watcher = Watcher(self.deployment, self._load, self._exchange, self._failed)
        self.served = self.watcher.first()
        self.writer = Writer(self.deployment.log, s.max_queue) if s.log else Silent()
        self.batcher = Batcher(s.max_batch, s.max_wait, s.max_queue, self.writer.keep, self.metrics.batches.observe)

    @property
    def ready(self) -> bool:
        """Whether traffic should come: the log can be written, and the server is not ending."""
        return self.writer.ready and not self.draining

    async def predict(self, request: Any) -> bytes:
        """The answer of a model that does not act."""
        if self.served.acts:
            raise Refused(404, "not_found", "this bundle is a policy; ask POST /act")
        return await self._answer(request)

    async def act(self, request: Any) -> bytes:
        """The answer of a policy."""
        if not self.served.acts:
            kind = self.served.signature.kind
            raise Refused(404, "not_found", f"this bundle is no policy but of kind {kind}; ask POST /predict")
        return await self._answer(request)

    async def _answer(self, request: Any) -> bytes:
        served = self.served
        asked = served.read(request, self.settings.max_rows)
        return await self._within(self.batcher.submit(served, *asked), served.quick)

    async def feedback(self, request: Any) -> bytes:
        """Keeps labels, values or rewards of earlier answers; answers when they are committed."""
        single = not isinstance(request, list)
        items = read_feedback(self.served.signature, request, self.settings.max_rows)
        known = await self._within(self.writer.tell(items))
        kept = [item.id for item, found in zip(items, known, strict=True) if found]
        self.metrics.feedback += len(kept)
        if len(kept) == len(items):
            return orjson.dumps({"kept": kept})
        message = "unknown id; ids are those of answers that this deployment has logged"
        unknown = [
            fault(message, ("id",) if single else (i, "id"), item.id)
            for i, (item, found) in enumerate(zip(items, known, strict=True))
            if not found
        ]
        raise Refused(404, "unknown_id", unknown, more={"kept": kept})

    async def _within(self, waiting: Awaitable[Value], quick: bool = False) -> Value:
        """What comes, unless it takes too long; of quick models it does not, and watching the clock costs time."""
        if quick:
            return await waiting
        try:
            return await asyncio.wait_for(waiting, self.settings.timeout)
        except TimeoutError:
            detail = f"it took longer than {self.settings.timeout:g} s; try again"
            raise Refused(503, "late", detail, {"retry-after": "1"}) from None

    def _load(self, name: str) -> Served:
        s = self.settings
        return Served.load(self.deployment.place(name), name, s.threads, s.max_batch)

    def _exchange(self, served: Served) -> None:
        """From now on requests are the new bundle's; the one before still answers those that were read for it."""
        self.served = served
        self.metrics.exchanges += 1
        self.say(f"{self.deployment.place(served.name)} answers now ({served.digest[:12]})")

    def _failed(self, message: str) -> None:
        self.metrics.failed_loads += 1
        self.say(f"{message}; {self.deployment.place(self.served.name)} goes on answering")

    def _state(self) -> State:
        return State(
            name=self.served.name,
            digest=self.served.digest,
            ready=self.ready,
            queue=len(self.batcher),
            log_waiting=self.writer.waiting,
            log_kept=self.writer.kept,
            log_lost=self.writer.lost,
        )

    @staticmethod
    def say(message: str) -> None:
        """One line for whoever looks after the server."""
        print(f"rlcl: {message}", file=sys.stderr, flush=True)  # noqa: T201
