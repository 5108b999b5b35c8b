"""Tokens, sizes, and times."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from server_harness import RunningServer, classifier, get, post, serving

from rlcl.commands import main
from rlcl.deploy.client import Client, ClientError
from rlcl.deploy.serving.settings import ServerSettings, read_token
from rlcl.errors import UnsupportedError

FINE = b'{"inputs": [[1, 2, 3]]}'


def exchanged(url: str, *parts: bytes) -> bytes:
    """What a server answers to bytes, until it hangs up."""
    where = urlsplit(url)
    with socket.create_connection((str(where.hostname), where.port or 80), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while data := connection.recv(1 << 16):
            received += data
        return received


def test_too_many_rows_and_bytes_are_refused(server: RunningServer) -> None:
    status, answer = post(f"{server.url}/predict", b'{"inputs": [' + b",".join([b"[1,2,3]"] * 9) + b"]}")
    (only,) = answer["detail"]
    assert (422, ["body", "inputs"]) == (status, only["loc"])
    assert "expected at most 8 rows per request; split them into several requests" == only["msg"]
    for size in (20_001, 70_000):
        status, answer = post(f"{server.url}/predict", FINE + b" " * (size - len(FINE)))
        assert (413, "expected a body of at most 20,000 bytes; send fewer inputs per request") == (
            status,
            answer["detail"],
        )
    assert 200 == post(f"{server.url}/predict", FINE + b" " * (20_000 - len(FINE)))[0]
    items = b"[" + b",".join([b'{"id": "a", "label": "b"}'] * 9) + b"]"
    assert 422 == post(f"{server.url}/feedback", items)[0]


def test_a_body_of_chunks_is_counted(server: RunningServer) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"3e8\r\n" + b" " * 1000 + b"\r\n"
    answer = exchanged(server.url, head, *[chunk] * 81)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer


def test_a_body_announced_far_too_large_is_not_awaited(server: RunningServer) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999999999\r\n\r\n"
    assert exchanged(server.url, head).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_is_still_sending_gets_its_413(server: RunningServer, chunked: bool) -> None:
    where, size = urlsplit(server.url), 30_000_000
    told = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{told}\r\n\r\n".encode()
    piece = b" " * 100_000
    with socket.create_connection((str(where.hostname), where.port or 80), timeout=10) as connection:
        connection.sendall(head)
        for _ in range(size // len(piece)):  # all of it before anything is read, as most clients do
            connection.sendall(b"186a0\r\n" + piece + b"\r\n" if chunked else piece)
        connection.sendall(b"0\r\n\r\n" if chunked else b"")
        received = b""
        while data := connection.recv(1 << 16):
            received += data
    assert received.startswith(b"HTTP/1.1 413")
    assert b"at most 20,000 bytes" in received
    assert 200 == post(f"{server.url}/predict", FINE)[0]


def test_a_body_that_does_not_come_is_not_awaited(server: RunningServer) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n"
    assert exchanged(server.url, head, b'{"inp').startswith(b"HTTP/1.1 408")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    bundle = classifier(tmp_path_factory.mktemp("bundles") / "guarded")
    with serving(bundle, "--no-log", token="secret-7") as started:
        yield started


def test_a_token_opens_and_nothing_else_does(guarded: RunningServer) -> None:
    with Client(guarded.url, "secret-7") as client:
        assert [0] == client.predict([[1.0, 0.0, 0.0]])["class"]
    for wrong in (
        {},
        {"Authorization": "Bearer secret-8"},
        {"Authorization": "secret-7"},
        {"Authorization": "Bearer "},
    ):
        assert 401 == post(f"{guarded.url}/predict", FINE, **wrong)[0], wrong
        for path in ("/signature", "/metrics", "/docs", "/openapi.json", "/nothing"):
            assert 401 == get(guarded.url + path, **wrong)[0], path
    assert (200, b'{"status":"alive"}') == get(f"{guarded.url}/health")
    assert (200, b'{"ready":true}') == get(f"{guarded.url}/ready")


def test_without_a_log_feedback_is_refused(guarded: RunningServer) -> None:
    message = r"409: the server keeps no log \(--no-log\)"
    with Client(guarded.url, "secret-7") as client, pytest.raises(ClientError, match=message):
        client.feedback("a", label="one")
    assert not guarded.bundle.with_name("guarded.live").exists()


def test_other_machines_need_a_token() -> None:
    with pytest.raises(UnsupportedError, match=r"--host 0\.0\.0\.0: other machines could reach the server without"):
        ServerSettings(host="0.0.0.0")
    ServerSettings(host="0.0.0.0", open=True)
    ServerSettings(host="0.0.0.0", token="a")
    for host in ("127.0.0.1", "::1", "localhost"):
        ServerSettings(host=host)
    assert "secret" not in repr(ServerSettings(token="secret"))


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("of the file\n")
    monkeypatch.delenv("RLCL_TOKEN", raising=False)
    assert read_token(None, False) is None
    with pytest.raises(UnsupportedError, match="without spaces"):
        read_token(file, False)
    file.write_text("filed\n")
    monkeypatch.setenv("RLCL_TOKEN", "set")
    assert ("filed", "set") == (read_token(file, False), read_token(None, False))
    with pytest.raises(UnsupportedError, match="--no-token and a token in"):
        read_token(None, True)
    with pytest.raises(UnsupportedError, match="cannot be read"):
        read_token(tmp_path / "none", False)
    monkeypatch.setenv("RLCL_TOKEN", "")
    with pytest.raises(UnsupportedError, match="RLCL_TOKEN: expected a token"):
        read_token(None, False)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--host", "203.0.113.7", "--no-token"], 2, "cannot listen there"),
        (["--host", "0.0.0.0"], 2, "other machines could reach the server without a token"),
        (["--live", "/proc/none"], 1, "choose another folder with --live"),
    ],
)
def test_a_server_that_cannot_start_says_why(
    arguments: list[str], status: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = classifier(tmp_path / "larger")
    with pytest.raises(SystemExit) as ended:
        main(["serve", str(bundle), "--port", "0", *arguments])
    assert status == ended.value.code
    assert message in capsys.readouterr().err


def test_no_bundle_is_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", str(tmp_path), "--port", "0"])
    assert "is not a bundle" in capsys.readouterr().err
