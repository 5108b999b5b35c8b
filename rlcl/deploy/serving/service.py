"""The server apart from HTTP: predictions, feedback, and changes of the deployed bundle."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any, TypeVar

import orjson
from attrs import define, field

from rlcl.deploy.deployment import Deployment
from rlcl.deploy.serving.alias_watcher import AliasWatcher
from rlcl.deploy.serving.batching import Batcher
from rlcl.deploy.serving.feedback import read_feedback
from rlcl.deploy.serving.loaded_model import LoadedModel
from rlcl.deploy.serving.log_writer import LogWriter, NullLogWriter
from rlcl.deploy.serving.metrics import Metrics, ServerState
from rlcl.deploy.serving.request_errors import RequestError, fault
from rlcl.deploy.serving.settings import ServerSettings

__all__ = ["Service"]

Value = TypeVar("Value")


@define(eq=False)
class Service:
    """The service of one deployment.

    Args:
        deployment: deployment to serve.
        settings: settings of the server.

    Raises:
        BundleError: the bundle or the log cannot be opened.
    """

    deployment: Deployment
    settings: ServerSettings
    loaded: LoadedModel = field(init=False)
    draining: bool = field(init=False, default=False)
    metrics: Metrics = field(init=False)
    batcher: Batcher = field(init=False)
    writer: LogWriter | NullLogWriter = field(init=False)
    watcher: AliasWatcher = field(init=False)

    def __attrs_post_init__(self) -> None:
        s = self.settings
        self.metrics = Metrics(self._state)
        self.watcher = AliasWatcher(self.deployment, self._load, self._replace_model, self._report_failed_load)
        self.loaded = self.watcher.load_first()
        self.writer = LogWriter(self.deployment.log, s.max_queue) if s.log else NullLogWriter()
        self.batcher = Batcher(
            s.max_batch, s.max_wait, s.max_queue, self.writer.add_answers, self.metrics.batches.observe
        )

    @property
    def ready(self) -> bool:
        """Whether the server accepts traffic: the log can be written, and the server is not shutting down."""
        return self.writer.ready and not self.draining

    async def predict(self, request: Any) -> bytes:
        """Answer a request for predictions; the bundle must not be a policy."""
        if self.loaded.is_policy:
            raise RequestError(404, "not_found", "this bundle is a policy; use POST /act")
        return await self._answer(request)

    async def act(self, request: Any) -> bytes:
        """Answer a request for actions; the bundle must be a policy."""
        if not self.loaded.is_policy:
            kind = self.loaded.signature.kind
            raise RequestError(404, "not_found", f"this bundle is not a policy but of kind {kind}; use POST /predict")
        return await self._answer(request)

    async def _answer(self, request: Any) -> bytes:
        loaded = self.loaded
        arguments = loaded.parse_request(request, self.settings.max_rows)
        return await self._with_timeout(self.batcher.submit(loaded, *arguments), loaded.quick)

    async def feedback(self, request: Any) -> bytes:
        """Log labels, values or rewards for earlier answers; return after the commit."""
        single = not isinstance(request, list)
        items = read_feedback(self.loaded.signature, request, self.settings.max_rows)
        known = await self._with_timeout(self.writer.add_feedback(items))
        kept = [item.id for item, is_known in zip(items, known, strict=True) if is_known]
        self.metrics.feedback += len(kept)
        if len(kept) == len(items):
            return orjson.dumps({"kept": kept})
        message = "unknown id; expected the id of an answer in the log of this deployment"
        unknown = [
            fault(message, ("id",) if single else (i, "id"), item.id)
            for i, (item, is_known) in enumerate(zip(items, known, strict=True))
            if not is_known
        ]
        raise RequestError(404, "unknown_id", unknown, more={"kept": kept})

    async def _with_timeout(self, waiting: Awaitable[Value], quick: bool = False) -> Value:
        """Wait for a result within the timeout; a quick model needs none, and a timer would cost time."""
        if quick:
            return await waiting
        try:
            return await asyncio.wait_for(waiting, self.settings.timeout)
        except TimeoutError:
            detail = f"the answer took longer than {self.settings.timeout:g} s; try again"
            raise RequestError(503, "late", detail, {"retry-after": "1"}) from None

    def _load(self, name: str) -> LoadedModel:
        s = self.settings
        return LoadedModel.load(self.deployment.bundle_folder(name), name, s.threads, s.max_batch)

    def _replace_model(self, loaded: LoadedModel) -> None:
        """Use another model for new requests; the previous one still answers the requests in the queue."""
        self.loaded = loaded
        self.metrics.exchanges += 1
        self.report(f"{self.deployment.bundle_folder(loaded.name)} is deployed now ({loaded.digest[:12]})")

    def _report_failed_load(self, message: str) -> None:
        self.metrics.failed_loads += 1
        self.report(f"{message}; {self.deployment.bundle_folder(self.loaded.name)} stays deployed")

    def _state(self) -> ServerState:
        return ServerState(
            name=self.loaded.name,
            digest=self.loaded.digest,
            ready=self.ready,
            queue=len(self.batcher),
            log_waiting=self.writer.waiting,
            log_committed=self.writer.committed,
            log_lost=self.writer.lost,
        )

    @staticmethod
    def report(message: str) -> None:
        """Print one line for the operator to the standard error."""
        print(f"rlcl: {message}", file=sys.stderr, flush=True)  # noqa: T201
