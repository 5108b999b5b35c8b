"""OpenAPI document of a server, built from the signature of its bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlcl.deploy.serving.feedback import KEYS
from rlcl.deploy.serving.loaded_model import LoadedModel
from rlcl.deploy.serving.request_errors import MAX_TEXT
from rlcl.deploy.serving.settings import ServerSettings
from rlcl.deploy.signature import Field, Signature

__all__ = ["openapi_document"]

Schema = dict[str, Any]

FLOAT32_MAX = 3.4028234e38
MAX_BOUNDS = 64  # values of a row whose bounds are listed one by one
EXAMPLE_ID = "6a1b2c3d9f8e7d6c-0000002a"
TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
DETAIL = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
FAULTS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
            "msg": {"type": "string"},
            "input": {"type": ["string", "number", "boolean", "null"]},
        },
        "required": ["loc", "msg", "input"],
    },
}


def openapi_document(loaded: LoadedModel, settings: ServerSettings) -> Schema:
    """Build an OpenAPI 3.1 document.

    Args:
        loaded: deployed model.
        settings: token and limits of the server.
    """
    gets = {
        "/health": ("Check that the process is alive.", {200: _object("alive", status={"const": "alive"})}),
        "/ready": ("Check that the server accepts traffic.", {200: _ready(True), 503: _ready(False)}),
        "/signature": ("Return the model's signature.", {200: _object("the signature", bundle={"type": "string"})}),
        "/metrics": (
            "Return metrics for Prometheus.", {200: {"description": "text", "content": {"text/plain": {}}}}
        ),
    }  # fmt: skip
    paths: Schema = {path: {"get": _get(path, *operation, settings)} for path, operation in gets.items()}
    model_path = "/act" if loaded.is_policy else "/predict"
    paths[model_path] = {"post": _model_operation(loaded, settings)}
    paths["/feedback"] = {"post": _feedback_operation(loaded.signature, settings)}
    document: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": f"rlcl serve: {loaded.model.bundle.path.name}",
            "version": loaded.digest[:12],
            "description": f"Kind of model: {loaded.signature.kind}. Bundle: {loaded.digest}.",
        },
        "paths": paths,
    }
    if settings.token is not None:
        document["components"] = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
    return document


def _get(path: str, summary: str, responses: Mapping[int, Schema], settings: ServerSettings) -> Schema:
    operation: Schema = {"summary": summary, "operationId": path[1:]}
    by_status = {str(status): response for status, response in responses.items()}
    if settings.token is not None and path not in ("/health", "/ready"):
        operation["security"] = [{"token": []}]
        by_status["401"] = _json("missing or wrong token", DETAIL)
    return {**operation, "responses": by_status}


def _post(
    operation_id: str, summary: str, body: Schema, example: Any, answer: Schema, settings: ServerSettings
) -> Schema:
    problem = {"type": "object", "properties": {"detail": FAULTS}, "required": ["detail"]}
    responses: Schema = {
        "200": answer,
        "404": _json("not available for this bundle, or unknown id", {"anyOf": [DETAIL, problem]}),
        "408": _json("the body did not arrive in time", DETAIL),
        "413": _json(f"more than {settings.max_body:,} bytes", DETAIL),
        "415": _json("a Content-Type other than application/json", DETAIL),
        "422": _json("invalid request, with the location of each error", problem),
        "503": _json("too many waiting requests, or a timeout; see Retry-After", DETAIL),
    }
    operation: Schema = {"summary": summary, "operationId": operation_id}
    if settings.token is not None:
        operation["security"] = [{"token": []}]
        responses["401"] = _json("missing or wrong token", DETAIL)
    content = {"application/json": {"schema": body, "example": example}}
    return {**operation, "requestBody": {"required": True, "content": content}, "responses": responses}


def _model_operation(loaded: LoadedModel, settings: ServerSettings) -> Schema:
    signature, rows = loaded.signature, (1, settings.max_rows)
    inputs = {part.name: _rows(part, *rows) for part in signature.inputs}
    several = len(inputs) > 1
    properties: Schema = {loaded.key: _all_of(inputs) if several else next(iter(inputs.values()))}
    examples = {part.name: [_example(part)] for part in signature.inputs}
    example: Schema = {loaded.key: examples if several else next(iter(examples.values()))}
    required = [loaded.key]
    if signature.tasks:
        properties["task_id"] = {"type": "integer", "minimum": 0, "maximum": signature.tasks - 1}
        example["task_id"] = 0
        required.append("task_id")
    if signature.state:
        state = _all_of({part.name: _rows(part, *rows) for part in signature.state})
        properties["state"] = {"anyOf": [state, {"type": "null"}]}
    if loaded.is_policy:
        names = {"type": "array", "items": TEXT, "minItems": 1, "maxItems": settings.max_rows}
        properties["episodes"] = {"anyOf": [names, {"type": "null"}]}
    body = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    answer = _object("one answer for each row", **_answer_properties(signature))
    summary = "Return greedy actions for observations." if loaded.is_policy else "Return predictions for inputs."
    return _post("act" if loaded.is_policy else "predict", summary, body, example, answer, settings)


def _answer_properties(signature: Signature) -> Schema:
    properties: Schema = {"ids": {"type": "array", "items": {"type": "string"}}}
    for part in signature.outputs:
        properties[part.name] = _nested(_output_number(part.dtype), part.shape, None)
        if part.name == "class":
            properties["names"] = {"type": "array", "items": {"enum": list(signature.classes)}}
    if signature.state:
        state = {part.name: _nested(_output_number(part.dtype), part.shape, None) for part in signature.state}
        properties["state"] = _all_of(state)
    return {**properties, "bundle": {"type": "string"}}


def _output_number(dtype: str) -> Schema:
    kind = np.dtype(dtype).kind
    return {"type": {"f": ["number", "null"], "b": "boolean"}.get(kind, "integer")}


def _feedback_operation(signature: Signature, settings: ServerSettings) -> Schema:
    key = KEYS[signature.kind]
    size = math.prod(signature.outputs[0].shape)
    number: Schema = {"type": "number"}
    vector = {"type": "array", "items": _number(signature.outputs[0]), "minItems": size, "maxItems": size}
    values = {"label": TEXT, "reward": number, "value": {"anyOf": [number, vector]} if size == 1 else vector}
    item = _all_of({"id": TEXT, key: values[key]})
    body = {"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "maxItems": settings.max_rows}]}
    label = signature.classes[0] if signature.classes else "7"
    example_values = {"label": label, "reward": 1.0, "value": [0.5] * size if size > 1 else 0.5}
    example = {"id": EXAMPLE_ID, key: example_values[key]}
    answer = _object("committed to the log", kept={"type": "array", "items": {"type": "string"}})
    summary = f"Send the {key} of earlier answers, by their ids."
    operation = _post("feedback", summary, body, example, answer, settings)
    if not settings.log:
        operation["responses"]["409"] = _json("the server keeps no log", DETAIL)
    return operation


def _rows(part: Field, minimum: int, maximum: int) -> Schema:
    return {"type": "array", "items": _row(part), "minItems": minimum, "maxItems": maximum}


def _row(part: Field) -> Schema:
    if len(part.shape) == 1 and part.shape[0] <= MAX_BOUNDS and _has_separate_bounds(part):
        items = [_number(part, i) for i in range(part.shape[0])]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    return _nested(_number(part), part.shape[1:], part.shape[0]) if part.shape else _number(part)


def _nested(item: Schema, shape: Sequence[int], outer_length: int | None) -> Schema:
    """Return the schema of nested lists of an item; ``outer_length`` is None for a list of any length."""
    schema = item
    for size in reversed(shape):
        schema = {"type": "array", "items": schema, "minItems": size, "maxItems": size}
    limits = {} if outer_length is None else {"minItems": outer_length, "maxItems": outer_length}
    return {"type": "array", "items": schema, **limits}


def _has_separate_bounds(part: Field) -> bool:
    return isinstance(part.low, np.ndarray) or isinstance(part.high, np.ndarray)


def _number(part: Field, index: int | None = None) -> Schema:
    """Return the schema of one number; without an index, of the widest bounds in the row."""
    dtype = np.dtype(part.dtype)
    minimum, maximum = (
        (-FLOAT32_MAX, FLOAT32_MAX) if dtype.kind == "f" else (0, 1) if dtype.kind == "b" else _integer_range(dtype)
    )
    low, high = _bound(part.low, index, np.min), _bound(part.high, index, np.max)
    minimum = minimum if low is None else max(minimum, low)
    maximum = maximum if high is None else min(maximum, high)
    if dtype.kind == "f":
        return {"type": ["number", "null"] if part.missing else "number", "minimum": minimum, "maximum": maximum}
    return {"type": "integer", "minimum": math.ceil(minimum), "maximum": math.floor(maximum)}


def _integer_range(dtype: Any) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _bound(bound: Any, index: int | None, widest: Any) -> float | None:
    if isinstance(bound, np.ndarray):
        return float(widest(bound) if index is None else bound[index])
    return bound  # type: ignore[no-any-return]


def _example(part: Field) -> Any:
    """Return a row in the middle of the bounds, or of zeros if there are none."""
    low, high = (None if b is None else np.broadcast_to(b, part.shape) for b in (part.low, part.high))
    row = np.zeros(part.shape)
    if low is not None and high is not None:
        with np.errstate(all="ignore"):
            middle = low / 2 + high / 2
        row = np.where(np.isfinite(middle), middle, row)
    row = row if low is None else np.maximum(row, low)
    row = row if high is None else np.minimum(row, high)
    is_categorical = [column.categorical for column in part.columns]
    row = np.where(is_categorical, np.floor(row), row) if any(is_categorical) else row
    return row.tolist() if np.dtype(part.dtype).kind == "f" else np.floor(row).astype(int).tolist()


def _all_of(properties: Schema) -> Schema:
    """Return the schema of an object that has all properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _object(description: str, **properties: Schema) -> Schema:
    return _json(description, {"type": "object", "properties": properties, "required": list(properties)})


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ready(ready: bool) -> Schema:
    description = "ready" if ready else "not ready: the log cannot be written, or the server is shutting down"
    return _object(description, ready={"const": ready})
