"""The OpenAPI description of a server, made from the signature of its bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlcl.deploy.serving.feedback import KEYS
from rlcl.deploy.serving.refused import LONGEST
from rlcl.deploy.serving.served import Served
from rlcl.deploy.serving.settings import Settings
from rlcl.deploy.signature import Field, Signature

__all__ = ["describe"]

Schema = dict[str, Any]

FLOAT32 = 3.4028234e38
WIDEST = 64  # values whose bounds are told one by one
EXAMPLE = "6a1b2c3d9f8e7d6c-0000002a"
TEXT = {"type": "string", "minLength": 1, "maxLength": LONGEST}
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


def describe(served: Served, settings: Settings) -> Schema:
    """An OpenAPI 3.1 document.

    Args:
        served: the bundle that answers.
        settings: for the token and the limits.
    """
    gets = {
        "/health": ("Whether the process lives.", {200: _object("alive", status={"const": "alive"})}),
        "/ready": ("Whether traffic should come.", {200: _ready(True), 503: _ready(False)}),
        "/signature": ("What the model takes and gives.", {200: _object("the signature", bundle={"type": "string"})}),
        "/metrics": ("Counts for Prometheus.", {200: {"description": "text", "content": {"text/plain": {}}}}),
    }
    paths: Schema = {path: {"get": _get(path, *said, settings)} for path, said in gets.items()}
    asked = "/act" if served.acts else "/predict"
    paths[asked] = {"post": _ask(served, settings)}
    paths["/feedback"] = {"post": _feedback(served.signature, settings)}
    made: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": f"rlcl serve: {served.model.bundle.path.name}",
            "version": served.digest[:12],
            "description": f"A {served.signature.kind}, bundle {served.digest}.",
        },
        "paths": paths,
    }
    if settings.token is not None:
        made["components"] = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
    return made


def _get(path: str, summary: str, responses: Mapping[int, Schema], settings: Settings) -> Schema:
    made: Schema = {"summary": summary, "operationId": path[1:]}
    told = {str(status): response for status, response in responses.items()}
    if settings.token is not None and path not in ("/health", "/ready"):
        made["security"] = [{"token": []}]
        told["401"] = _json("no token, or another", DETAIL)
    return {**made, "responses": told}


def _post(operation: str, summary: str, body: Schema, example: Any, answer: Schema, settings: Settings) -> Schema:
    problem = {"type": "object", "properties": {"detail": FAULTS}, "required": ["detail"]}
    responses: Schema = {
        "200": answer,
        "404": _json("not of this bundle", {"anyOf": [DETAIL, problem]}),
        "408": _json("the body did not arrive in time", DETAIL),
        "413": _json(f"more than {settings.max_body:,} bytes", DETAIL),
        "415": _json("another Content-Type than application/json", DETAIL),
        "422": _json("what is wrong, and where", problem),
        "503": _json("too many wait, or it took too long; see Retry-After", DETAIL),
    }
    made: Schema = {"summary": summary, "operationId": operation}
    if settings.token is not None:
        made["security"] = [{"token": []}]
        responses["401"] = _json("no token, or another", DETAIL)
    content = {"application/json": {"schema": body, "example": example}}
    return {**made, "requestBody": {"required": True, "content": content}, "responses": responses}


def _ask(served: Served, settings: Settings) -> Schema:
    signature, rows = served.signature, (1, settings.max_rows)
    inputs = {each.name: _rows(each, *rows) for each in signature.inputs}
    several = len(inputs) > 1
    named: Schema = {served.key: _all_of(inputs) if several else next(iter(inputs.values()))}
    examples = {each.name: [_example(each)] for each in signature.inputs}
    example: Schema = {served.key: examples if several else next(iter(examples.values()))}
    required = [served.key]
    if signature.tasks:
        named["task_id"] = {"type": "integer", "minimum": 0, "maximum": signature.tasks - 1}
        example["task_id"] = 0
        required.append("task_id")
    if signature.state:
        state = _all_of({each.name: _rows(each, *rows) for each in signature.state})
        named["state"] = {"anyOf": [state, {"type": "null"}]}
    if served.acts:
        names = {"type": "array", "items": TEXT, "minItems": 1, "maxItems": settings.max_rows}
        named["episodes"] = {"anyOf": [names, {"type": "null"}]}
    body = {"type": "object", "properties": named, "required": required, "additionalProperties": False}
    answer = _object("one answer a row", **_answers(signature))
    verb = "Act greedily on observations." if served.acts else "Predict."
    return _post("act" if served.acts else "predict", verb, body, example, answer, settings)


def _answers(signature: Signature) -> Schema:
    made: Schema = {"ids": {"type": "array", "items": {"type": "string"}}}
    for each in signature.outputs:
        made[each.name] = _nested(_answered(each.dtype), each.shape, None)
        if each.name == "class":
            made["names"] = {"type": "array", "items": {"enum": list(signature.classes)}}
    if signature.state:
        parts = {each.name: _nested(_answered(each.dtype), each.shape, None) for each in signature.state}
        made["state"] = _all_of(parts)
    return {**made, "bundle": {"type": "string"}}


def _answered(dtype: str) -> Schema:
    kind = np.dtype(dtype).kind
    return {"type": {"f": ["number", "null"], "b": "boolean"}.get(kind, "integer")}


def _feedback(signature: Signature, settings: Settings) -> Schema:
    key = KEYS[signature.kind]
    size = math.prod(signature.outputs[0].shape)
    number: Schema = {"type": "number"}
    vector = {"type": "array", "items": _number(signature.outputs[0]), "minItems": size, "maxItems": size}
    values = {"label": TEXT, "reward": number, "value": {"anyOf": [number, vector]} if size == 1 else vector}
    item = _all_of({"id": TEXT, key: values[key]})
    body = {"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "maxItems": settings.max_rows}]}
    named = signature.classes[0] if signature.classes else "7"
    example = {"id": EXAMPLE, key: {"label": named, "reward": 1.0, "value": [0.5] * size if size > 1 else 0.5}[key]}
    answer = _object("kept, whatever happens to the process", kept={"type": "array", "items": {"type": "string"}})
    summary = f"Tell the {key} of earlier answers, by their ids."
    made = _post("feedback", summary, body, example, answer, settings)
    if not settings.log:
        made["responses"]["409"] = _json("the server keeps no log", DETAIL)
    return made


def _rows(each: Field, least: int, most: int) -> Schema:
    return {"type": "array", "items": _row(each), "minItems": least, "maxItems": most}


def _row(each: Field) -> Schema:
    if len(each.shape) == 1 and each.shape[0] <= WIDEST and _varies(each):
        places = [_number(each, i) for i in range(each.shape[0])]
        return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}
    return _nested(_number(each), each.shape[1:], each.shape[0]) if each.shape else _number(each)


def _nested(item: Schema, shape: Sequence[int], first: int | None) -> Schema:
    """Lists in lists around an item; ``first`` is the length of the outermost, None where it is not said."""
    made = item
    for size in reversed(shape):
        made = {"type": "array", "items": made, "minItems": size, "maxItems": size}
    return {"type": "array", "items": made, **({} if first is None else {"minItems": first, "maxItems": first})}


def _varies(each: Field) -> bool:
    return isinstance(each.low, np.ndarray) or isinstance(each.high, np.ndarray)


def _number(each: Field, place: int | None = None) -> Schema:
    """What a number may be; of bounds that differ from place to place the widest, where no place is given."""
    dtype = np.dtype(each.dtype)
    least, most = (-FLOAT32, FLOAT32) if dtype.kind == "f" else (0, 1) if dtype.kind == "b" else _whole(dtype)
    low, high = _at(each.low, place, np.min), _at(each.high, place, np.max)
    least = least if low is None else max(least, low)
    most = most if high is None else min(most, high)
    if dtype.kind == "f":
        return {"type": ["number", "null"] if each.missing else "number", "minimum": least, "maximum": most}
    return {"type": "integer", "minimum": math.ceil(least), "maximum": math.floor(most)}


def _whole(dtype: Any) -> tuple[int, int]:
    found = np.iinfo(dtype)
    return int(found.min), int(found.max)


def _at(bound: Any, place: int | None, outer: Any) -> float | None:
    if isinstance(bound, np.ndarray):
        return float(outer(bound) if place is None else bound[place])
    return bound  # type: ignore[no-any-return]


def _example(each: Field) -> Any:
    """A row in the middle of the bounds, or of zeros where there are none."""
    low, high = (None if b is None else np.broadcast_to(b, each.shape) for b in (each.low, each.high))
    row = np.zeros(each.shape)
    if low is not None and high is not None:
        with np.errstate(all="ignore"):
            middle = low / 2 + high / 2
        row = np.where(np.isfinite(middle), middle, row)
    row = row if low is None else np.maximum(row, low)
    row = row if high is None else np.minimum(row, high)
    texts = [column.categorical for column in each.columns]
    row = np.where(texts, np.floor(row), row) if any(texts) else row
    return row.tolist() if np.dtype(each.dtype).kind == "f" else np.floor(row).astype(int).tolist()


def _all_of(properties: Schema) -> Schema:
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
    words = "ready" if ready else "not ready: the log cannot be written, or the server is ending"
    return _object(words, ready={"const": ready})
