"""Feedback of clients: labels, values and rewards for earlier answers."""

from __future__ import annotations

import math
import time
from typing import Any

from rlcl.deploy.log import Feedback
from rlcl.deploy.serving.request_errors import check_text, invalid, unknown_key
from rlcl.deploy.signature import Field, InvalidInput, Signature

__all__ = ["KEYS", "read_feedback"]

KEYS = {"classifier": "label", "regressor": "value", "policy": "reward", "autoencoder": "label"}  # by kind of model


def read_feedback(signature: Signature, request: Any, max_rows: int) -> list[Feedback]:
    """Return the feedback of a request.

    A label may be a class that the model does not know yet. An autoencoder accepts labels as well: it does not learn
    from them, but they are useful for its evaluation.

    Args:
        signature: signature of the deployed bundle.
        request: decoded body, an object or a list of objects.
        max_rows: maximum number of items in the request.

    Raises:
        RequestError: the request is invalid; the error contains the location in the body.
    """
    single = not isinstance(request, list)
    items = [request] if single else request
    if not items:
        raise invalid("expected at least one item of feedback")
    if len(items) > max_rows:
        raise invalid(f"expected at most {max_rows} items per request; split them into several requests")
    now = time.time()
    return [_item(signature, item, [] if single else [i], now) for i, item in enumerate(items)]


def _item(signature: Signature, item: Any, location: list[str | int], now: float) -> Feedback:
    key = KEYS[signature.kind]
    if not isinstance(item, dict):
        raise invalid(f"expected an object with the keys id and {key}", location)
    for name in item:
        if name not in ("id", key):
            raise unknown_key(name, ("id", key), location)
    for name in ("id", key):
        if name not in item:
            raise invalid(f"missing; expected the keys id and {key}", [*location, name])
    id, value = item["id"], item[key]
    check_text(id, "an id", [*location, "id"])
    if key == "label":
        check_text(value, "a class's name", [*location, key])
    elif isinstance(value, list) and key == "value":
        _check_vector(signature.outputs[0], value, [*location, key])
    elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise invalid("expected a number", [*location, key], value)
    elif key == "value" and math.prod(signature.outputs[0].shape) != 1:
        raise invalid(f"expected a list of {math.prod(signature.outputs[0].shape)}", [*location, key], value)
    return Feedback(id=id, time=now, value=value)


def _check_vector(output: Field, value: list[Any], location: list[str | int]) -> None:
    try:
        output.rows([value])
    except InvalidInput as error:
        raise invalid(error.message, [*location, *error.index[1:]], error.value) from None
