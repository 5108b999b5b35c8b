"""Requests that nobody should send: no error of the server's own, and it goes on."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from server_harness import RunningServer, metric_value

from rlcl.deploy.client import Client

SCALARS = (0, -1, 1.5, 1e308, -(2**63), 2**64 - 1, True, None, "", "x", "é\u0000", "1", [], {}, [[]], "x" * 3000)
KEYS = ("inputs", "task_id", "state", "id", "label", "input", "", "__proto__")


def anything(rng: random.Random, depth: int = 0) -> object:
    """JSON that may be near to a request, or far from it."""
    kind = rng.random()
    if depth > 4 or kind < 0.3:
        return rng.choice(SCALARS)
    if kind < 0.6:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(5))]
    if kind < 0.75:
        return [[rng.uniform(-12, 12) for _ in range(rng.choice((3, 3, 3, 2)))] for _ in range(rng.randrange(1, 5))]
    return {rng.choice(KEYS): anything(rng, depth + 1) for _ in range(rng.randrange(4))}


def body(rng: random.Random) -> bytes:
    made = json.dumps(anything(rng) if rng.random() < 0.5 else {"inputs": anything(rng)}).encode()
    if rng.random() < 0.3:
        damaged = bytearray(made)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        return bytes(damaged)
    return made.replace(b"1.5", b"NaN") if rng.random() < 0.1 else made


def test_no_request_is_an_error_of_the_server(server: RunningServer) -> None:
    rng = random.Random(0)
    where = urlsplit(server.url)
    connection = HTTPConnection(str(where.hostname), where.port, timeout=20)
    statuses = set()
    for _ in range(600):
        made = body(rng)
        connection.request(
            "POST", rng.choice(("/predict", "/predict", "/feedback")), made, {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        json.loads(answer.read())
        assert answer.status in (200, 404, 413, 422), made
        statuses.add(answer.status)
    connection.close()
    assert {200, 422} <= statuses
    with Client(server.url) as client:
        assert [0] == client.predict([[1.0, 0.0, 0.0]])["class"]
    assert 0 == metric_value(server.url, 'rlcl_errors_total{kind="internal"}')


@pytest.mark.timeout(200)
def test_schemathesis_finds_nothing(server: RunningServer, tmp_path: Path) -> None:
    """In a process of its own, for it warns of much."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--seed", "0"]
    options = ["--max-examples", "15", "--phases", "examples,coverage,fuzzing", "--no-color"]
    done = subprocess.run([*command, *options], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert 0 == done.returncode, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.parametrize("depth", [200, 1000, 10_000])
@pytest.mark.parametrize(
    "around", [b"%s", b'{"inputs": %s}', b'{"inputs": [[1, 2, %s]]}', b'{"id": "a", "label": %s}', b"[NaN, %s]"]
)
@pytest.mark.parametrize("path", ["/predict", "/feedback"])
def test_deep_nesting_is_refused_like_any_other_body(
    server: RunningServer, depth: int, around: bytes, path: str
) -> None:
    where = urlsplit(server.url)
    connection = HTTPConnection(str(where.hostname), where.port, timeout=20)
    for brackets in ((b"[", b"]"), (b'{"a":', b"}")):
        made = around % (brackets[0] * depth + b"1" + brackets[1] * depth)
        connection.request("POST", path, made, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        json.loads(answer.read())
        assert answer.status in (413, 422)
    connection.close()
