"""The server's own account of itself: OpenAPI, its page, the signature, the metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from server_harness import RunningServer, classifier, counter, get, post, scaler

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.client import Client
from rlcl.deploy.serving.loaded_model import LoadedModel
from rlcl.deploy.serving.openapi import openapi_document
from rlcl.deploy.serving.page import render_page
from rlcl.deploy.serving.settings import ServerSettings

MAKERS = [classifier, counter, scaler]


def described(server: RunningServer) -> dict[str, Any]:
    return json.loads(get(f"{server.url}/openapi.json")[1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("maker", MAKERS)
def test_the_example_and_the_schema_go_together(maker: Any, tmp_path: Path) -> None:
    loaded = LoadedModel.load(maker(tmp_path / "bundle"), ".", 1, 4)
    paths = openapi_document(loaded, ServerSettings())["paths"]
    asked = "/act" if loaded.is_policy else "/predict"
    for path in (asked, "/feedback"):
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        jsonschema.Draft202012Validator.check_schema(content["schema"])
        jsonschema.validate(content["example"], content["schema"])
    loaded.parse_request(paths[asked]["post"]["requestBody"]["content"]["application/json"]["example"], 1)


@pytest.mark.parametrize("value", [11, -11, "1", None, [1]])
def test_the_schema_knows_the_bounds(server: RunningServer, value: Any) -> None:
    schema = described(server)["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate({"inputs": [[10, -10, 0.5]]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"inputs": [[1, 2, value]]}, schema)


def test_bounds_of_places_are_told_one_by_one(policy: RunningServer) -> None:
    schema = described(policy)["paths"]["/act"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate({"observations": [[1, 2]], "state": {"sum": [0.5]}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"observations": [[2, 1]]}, schema)


def test_answers_are_as_described(server: RunningServer, client: Client) -> None:
    responses = described(server)["paths"]["/predict"]["post"]["responses"]

    def check(status: str, answer: Any) -> None:
        jsonschema.validate(answer, responses[status]["content"]["application/json"]["schema"])

    check("200", client.predict([[1.0, 2.0, 3.0]]))
    for body in (b"", b'{"inputs": [[1, 2]]}', b'{"inputs": [[1, 2, 3]], "x": 0}'):
        status, answer = post(f"{server.url}/predict", body)
        assert 422 == status
        check("422", answer)


def test_a_token_is_described(tmp_path: Path) -> None:
    loaded = LoadedModel.load(classifier(tmp_path / "bundle"), ".", 1, 4)
    with_token, without = (openapi_document(loaded, ServerSettings(token=token)) for token in ("a", None))
    assert "401" in with_token["paths"]["/predict"]["post"]["responses"]
    assert "401" not in without["paths"]["/predict"]["post"]["responses"]
    assert 'type="password"' in render_page(with_token)
    assert 'type="password"' not in render_page(without)


def test_the_page_loads_nothing_from_elsewhere(server: RunningServer) -> None:
    status, html = get(f"{server.url}/docs")
    assert 200 == status
    assert [] == re.findall(rb"https?://|src=|@import|url\(", html)
    assert html.index(b"POST /predict") < html.index(b"GET /health")
    assert b"&#34;inputs&#34;: [[0.0, 0.0, 0.0]]" in html


def test_the_signature_and_the_counts(server: RunningServer, client: Client) -> None:
    bundle = Bundle.open(server.bundle)
    assert {"bundle": bundle.digest, **bundle.signature.to_json()} == client.signature()
    client.predict([[1.0, 2.0, 3.0]] * 2)
    text = get(f"{server.url}/metrics")[1].decode()
    for line in (
        f'rlcl_bundle_info{{digest="{bundle.digest}",name="."}} 1.0',
        "rlcl_ready 1.0",
        "rlcl_queue_requests 0.0",
        'rlcl_requests_total{path="/predict",status="200"}',
        'rlcl_request_seconds_count{path="/predict"}',
        'rlcl_batch_rows_bucket{le="2.0"}',
    ):
        assert line in text, line
