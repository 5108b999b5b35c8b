"""Starts a server, and ends it without losing what was asked."""

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
from rlcl.deploy.serving.settings import Settings
from rlcl.errors import UnsupportedError

__all__ = ["listen", "serve"]

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75  # that a connection may be idle
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def listen(settings: Settings) -> socket.socket:
    """A socket that takes connections already, so that its address can be told.

    Raises:
        UnsupportedError: the address cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise UnsupportedError(
            f"--host {settings.host} --port {settings.port}: cannot listen there ({error}); "
            "choose others, or --port 0 for a free port"
        ) from error


def serve(service: Service, listening: socket.socket, started: Callable[[], None]) -> bool:
    """Answers until SIGTERM or SIGINT, then answers what is under way and writes the log.

    Args:
        service: that answers.
        listening: of :func:`listen`.
        started: called once, when requests are answered from now on.

    Returns:
        Whether all that was answered is in the log.
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
    for number in SIGNALS:  # uvicorn raises them once more when it has ended; without this it would not leave with 0
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    work = [asyncio.create_task(each) for each in (service.batcher.work(), service.watcher.watch())]
    watch = asyncio.create_task(_tell_of_the_end(server, service))
    started()
    await server.serve(sockets=[listening])
    for task in (*work, watch):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _tell_of_the_end(server: uvicorn.Server, service: Service) -> None:
    while not server.should_exit:
        await asyncio.sleep(0.02)
    service.draining = True


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    return uvloop.new_event_loop
