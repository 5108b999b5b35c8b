"""The server's paths."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
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
    """An ASGI application: FastAPI behind the gate.

    Args:
        service: that answers.
    """
    app = FastAPI(title="rlcl serve", docs_url=None, redoc_url=None, openapi_url=None)
    settings = service.settings
    endpoint = partial(Endpoint, max_body=settings.max_body, timeout=settings.timeout, metrics=service.metrics)
    asked = {"/predict": service.predict, "/act": service.act, "/feedback": service.feedback}
    often = {path: endpoint(answer) for path, answer in asked.items()}
    app.router.routes += [Route(path, each, methods=["POST"]) for path, each in often.items()]
    told = {
        "/health": _health,
        "/ready": _ready,
        "/metrics": _metrics,
        "/signature": _signature,
        "/openapi.json": _openapi,
        "/docs": _docs,
    }
    for path, answer in told.items():
        app.add_api_route(path, _bound(answer, service), methods=["GET"], include_in_schema=False)
    app.openapi = partial(_description, service)  # type: ignore[method-assign]
    return Gate(app, often, settings.token, service.metrics, frozenset((*asked, *told)))


def _bound(answer: Any, service: Service) -> Any:
    async def bound() -> Response:
        made: Response = answer(service)
        return made

    return bound


def _json(content: Any, status: int = 200) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, media_type="application/json")


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
