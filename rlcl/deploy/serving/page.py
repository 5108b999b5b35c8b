"""The page at ``/docs``: the OpenAPI description for people, in one file that loads nothing from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["page"]


def page(description: dict[str, Any]) -> str:
    """HTML of an OpenAPI document."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation["summary"],
            "responses": {status: answer["description"] for status, answer in operation["responses"].items()},
            "example": _example(operation),
        }
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    operations.sort(key=lambda operation: operation["method"] != "POST")
    template = environment.get_template("page.html")
    return template.render(info=description["info"], operations=operations, token="components" in description)


def _example(operation: dict[str, Any]) -> str | None:
    if "requestBody" not in operation:
        return None
    return json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
