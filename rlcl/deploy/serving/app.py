"""ASGI application of the server, and its paths."""

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

from rlcl.deploy.serving.limits import AccessMiddleware, JsonEndpoint
from rlcl.deploy.serving.openapi import openapi_document
from rlcl.deploy.serving.page import render_page
from rlcl.deploy.serving.service import Service

__all__ = ["make_app"]

# Prometheus requests this version of the text format by default.
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
# The page loads nothing from elsewhere, and sends requests to this server only.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def make_app(service: Service) -> Any:
    """Build the ASGI application: Starlette behind the access middleware.

    Args:
        service: service that computes the answers.
    """
    settings = service.settings
    endpoint = partial(JsonEndpoint, max_body=settings.max_body, timeout=settings.timeout, metrics=service.metrics)
    post_handlers = {"/predict": service.predict, "/act": service.act, "/feedback": service.feedback}
    endpoints = {path: endpoint(handler) for path, handler in post_handlers.items()}
    get_handlers = {
        "/health": _health,
        "/ready": _ready,
        "/metrics": _metrics,
        "/signature": _signature,
        "/openapi.json": _openapi,
        "/docs": _docs,
    }
    routes = [Route(path, json_endpoint, methods=["POST"]) for path, json_endpoint in endpoints.items()]
    routes += [_get_route(path, handler, service) for path, handler in get_handlers.items()]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error})
    paths = frozenset((*post_handlers, *get_handlers))
    return AccessMiddleware(app, endpoints, settings.token, service.metrics, paths)


def _get_route(path: str, handler: Callable[[Service], Response], service: Service) -> Route:
    async def answer(request: Request) -> Response:
        return handler(service)

    route = Route(path, answer, methods=["GET"])
    route.methods = {"GET"}  # Starlette adds HEAD, which the OpenAPI document does not contain
    return route


def _http_error(request: Request, error: Exception) -> Response:
    """Answer an unknown path or an unsupported method in the form of all other errors."""
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
    return _json({"bundle": service.loaded.digest, **service.loaded.signature.to_json()})


def _openapi_document(service: Service) -> dict[str, Any]:
    return openapi_document(service.loaded, service.settings)


def _openapi(service: Service) -> Response:
    return _json(_openapi_document(service))


def _docs(service: Service) -> Response:
    return HTMLResponse(render_page(_openapi_document(service)), headers={"content-security-policy": POLICY})
