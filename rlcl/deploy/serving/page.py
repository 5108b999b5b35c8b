"""HTML page at ``/docs``: the OpenAPI document for people, in one self-contained file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["render_page"]


def render_page(document: dict[str, Any]) -> str:
    """Return the HTML page of an OpenAPI document."""
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
            "responses": {status: response["description"] for status, response in operation["responses"].items()},
            "example": _example(operation),
        }
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    operations.sort(key=lambda operation: operation["method"] != "POST")
    template = environment.get_template("page.html")
    return template.render(info=document["info"], operations=operations, token="components" in document)


def _example(operation: dict[str, Any]) -> str | None:
    if "requestBody" not in operation:
        return None
    return json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
