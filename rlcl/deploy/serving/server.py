"""Start and graceful shutdown of the HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from rlcl.deploy.serving.app import make_app
from rlcl.deploy.serving.service import Service
from rlcl.deploy.serving.settings import ServerSettings
from rlcl.errors import UnsupportedError

__all__ = ["listen", "serve"]

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75  # that a connection may be idle
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def listen(settings: ServerSettings) -> socket.socket:
    """Open a socket that already accepts connections, so that its address is known before the server starts.

    Raises:
        UnsupportedError: the address is not available.
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise UnsupportedError(
            f"--host {settings.host} --port {settings.port}: cannot listen there ({error}); "
            "choose another address, or --port 0 for a free port"
        ) from error


def serve(service: Service, listening: socket.socket, started: Callable[[], None]) -> bool:
    """Answer requests until SIGTERM or SIGINT, then answer the pending ones and write the log.

    Args:
        service: service that computes the answers.
        listening: socket of :func:`listen`.
        started: function that is called once, when the server starts to answer.

    Returns:
        Whether all answers were written to the log.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(service, listening, started))
    service.batcher.close()
    return service.writer.close(service.settings.drain)


async def _serve(service: Service, listening: socket.socket, started: Callable[[], None]) -> None:
    app = make_app(service)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(service.settings.drain)),
    )
    server = uvicorn.Server(config)
    for number in SIGNALS:  # uvicorn raises a signal again when it has stopped; with this handler the exit status is 0
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    work = [asyncio.create_task(coroutine) for coroutine in (service.batcher.work(), service.watcher.watch())]
    watch = asyncio.create_task(_watch_shutdown(server, service))
    started()
    await server.serve(sockets=[listening])
    for task in (*work, watch):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _watch_shutdown(server: uvicorn.Server, service: Service) -> None:
    """Mark the service as draining when the server begins to shut down."""
    while not server.should_exit:
        await asyncio.sleep(0.02)
    service.draining = True


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:  # it is not available for Windows
        return None
    return uvloop.new_event_loop
