"""What clients say of earlier answers."""

from __future__ import annotations

import math
import time
from typing import Any

from rlcl.deploy.log import Feedback
from rlcl.deploy.serving.refused import check_text, invalid, unknown_key
from rlcl.deploy.signature import Field, Misplaced, Signature

__all__ = ["KEYS", "read_feedback"]

KEYS = {"classifier": "label", "regressor": "value", "policy": "reward", "autoencoder": "label"}  # by kind of model


def read_feedback(signature: Signature, request: Any, max_rows: int) -> list[Feedback]:
    """The feedback of a request.

    A label may be of a class that the model does not know yet. An autoencoder takes labels as well: what it does not
    learn from is still good for judging it.

    Args:
        signature: of the bundle that answers now.
        request: the decoded body, an object or a list of them.
        max_rows: that it may hold.

    Raises:
        Refused: with the place of what is wrong.
    """
    single = not isinstance(request, list)
    items = [request] if single else request
    if not items:
        raise invalid("expected at least one")
    if len(items) > max_rows:
        raise invalid(f"expected at most {max_rows} a request; send them in several")
    now = time.time()
    return [_item(signature, item, [] if single else [i], now) for i, item in enumerate(items)]


def _item(signature: Signature, item: Any, place: list[str | int], now: float) -> Feedback:
    key = KEYS[signature.kind]
    if not isinstance(item, dict):
        raise invalid(f"expected an object with the keys id and {key}", place)
    for name in item:
        if name not in ("id", key):
            raise unknown_key(name, ("id", key), place)
    for name in ("id", key):
        if name not in item:
            raise invalid(f"missing; expected the keys id and {key}", [*place, name])
    id, value = item["id"], item[key]
    check_text(id, "an id", [*place, "id"])
    if key == "label":
        check_text(value, "a class's name", [*place, key])
    elif isinstance(value, list) and key == "value":
        _check_vector(signature.outputs[0], value, [*place, key])
    elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise invalid("expected a number", [*place, key], value)
    elif key == "value" and math.prod(signature.outputs[0].shape) != 1:
        raise invalid(f"expected a list of {math.prod(signature.outputs[0].shape)}", [*place, key], value)
    return Feedback(id=id, time=now, value=value)


def _check_vector(output: Field, value: list[Any], place: list[str | int]) -> None:
    try:
        output.rows([value])
    except Misplaced as error:
        raise invalid(error.message, [*place, *error.place[1:]], error.value) from None
