"""The server's paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from rlcl.deploy.serving.limits import Endpoint, Gate
from rlcl.deploy.serving.openapi import describe
from rlcl.deploy.serving.page import page
from rlcl.deploy.serving.service import Service

__all__ = ["make_app"]

# The version that comes before the counts (text format 0.0.4) is what Prometheus asks for by default.
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
# The page loads nothing from elsewhere, and asks this server alone.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def make_app(service: Service) -> Any:
    """An ASGI application: Starlette behind the gate.

    Args:
        service: that answers.
    """
    settings = service.settings
    endpoint = partial(Endpoint, max_body=settings.max_body, timeout=settings.timeout, metrics=service.metrics)
    asked = {"/predict": service.predict, "/act": service.act, "/feedback": service.feedback}
    often = {path: endpoint(answer) for path, answer in asked.items()}
    told = {
        "/health": _health,
        "/ready": _ready,
        "/metrics": _metrics,
        "/signature": _signature,
        "/openapi.json": _openapi,
        "/docs": _docs,
    }
    routes = [Route(path, each, methods=["POST"]) for path, each in often.items()]
    routes += [_get(path, answer, service) for path, answer in told.items()]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused})
    return Gate(app, often, settings.token, service.metrics, frozenset((*asked, *told)))


def _get(path: str, answer: Callable[[Service], Response], service: Service) -> Route:
    async def answered(request: Request) -> Response:
        return answer(service)

    route = Route(path, answered, methods=["GET"])
    route.methods = {"GET"}  # Starlette adds HEAD, which the description does not have
    return route


def _refused(request: Request, error: Exception) -> Response:
    """An unknown path, or a method that a path does not have, in the form of all other errors."""
    assert isinstance(error, HTTPException)
    return _json({"detail": error.detail}, error.status_code, error.headers)


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, media_type="application/json")


def _health(service: Service) -> Response:
    return _json({"status": "alive"})


def _ready(service: Service) -> Response:
    return _json({"ready": service.ready}, 200 if service.ready else 503)


def _metrics(service: Service) -> Response:
    return PlainTextResponse(service.metrics.text(), media_type=PROMETHEUS)


def _signature(service: Service) -> Response:
    return _json({"bundle": service.served.digest, **service.served.signature.to_json()})


def _description(service: Service) -> dict[str, Any]:
    return describe(service.served, service.settings)


def _openapi(service: Service) -> Response:
    return _json(_description(service))


def _docs(service: Service) -> Response:
    return HTMLResponse(page(_description(service)), headers={"content-security-policy": POLICY})
