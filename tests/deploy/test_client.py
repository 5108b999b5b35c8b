"""The client: what it tries again, and what it says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rlcl.deploy import client as module
from rlcl.deploy.client import Client, ClientError


@contextmanager
def answering(*answers: tuple[int, bytes] | None) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers in turn; None hangs up."""
    left, asked = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            answer = left.pop(0)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/under", asked
        server.shutdown()
        thread.join()


def test_what_is_missing_is_null() -> None:
    asked = {"inputs": [[1.0, float("nan")], (None, 2.0)], "task_id": 3}
    assert b'{"inputs": [[1.0, null], [null, 2.0]], "task_id": 3}' == module._to_json(asked)
    assert b'{"inputs": [[Infinity, null]]}' == module._to_json({"inputs": [[float("inf"), float("nan")]]})


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.001)


def test_a_busy_server_and_one_that_hangs_up_are_asked_again() -> None:
    with answering((503, b'{"detail": "busy"}'), None, (200, b'{"ids": ["a"]}')) as (url, asked), Client(url) as client:
        assert {"ids": ["a"]} == client.predict([[1.0]])
    assert ["/under/predict"] * 3 == asked


def test_after_its_tries_it_says_what_the_server_said() -> None:
    with answering(*[(503, b'{"detail": "busy"}')] * 3) as (url, asked), Client(url, retries=2) as client:
        with pytest.raises(ClientError, match=r"/under/predict: 503: busy") as raised:
            client.predict([[1.0]])
        assert 503 == raised.value.status
    assert 3 == len(asked)


def test_a_refusal_is_not_tried_again() -> None:
    detail = b'{"detail": [{"loc": ["body", "inputs", 0], "msg": "wrong", "input": null}]}'
    with answering((422, detail)) as (url, asked), Client(url) as client:
        with pytest.raises(ClientError, match=r"422: body\.inputs\.0: wrong") as raised:
            client.predict([[1.0]])
        assert "wrong" == raised.value.detail[0]["msg"]
    assert 1 == len(asked)


def test_no_server_and_no_url_are_told() -> None:
    with Client("http://127.0.0.1:9", retries=1) as client, pytest.raises(ClientError, match="ConnectionRefusedError"):
        client.health()
    with pytest.raises(ValueError, match="expected a URL such as"):
        Client("127.0.0.1:8000")
