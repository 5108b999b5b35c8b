"""HTTP requests to a served bundle on loopback: near to what is allowed or far from it."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from deploy.serving.server_harness import classifier

from fuzz.kind import Case, Failed, Kind
from fuzz.odd import VALUES

__all__ = ["Requests"]

KEYS = ("inputs", "task_id", "state", "id", "label", "input", "", "observations", "episode")
STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
SCALARS = [value for value in VALUES if not isinstance(value, list | dict) and value != 10**400]


class Requests(Kind):
    """A request with a sound frame, or one whose head is wrong; 5xx is a failure, as is no answer."""

    name = "requests"
    seconds = 30.0

    def __init__(self) -> None:
        self._connection: socket.socket | None = None
        self._early = 0

    def prepare(self, folder: Path) -> None:
        import shutil

        shutil.rmtree(folder / "bundle", ignore_errors=True)
        bundle = classifier(folder / "bundle")
        command = [sys.executable, "-m", "rlcl", "serve", str(bundle), "--port", "0", "--max-body", "100000"]
        self._errors = folder / "server.txt"
        self._server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._errors.open("w"), text=True, start_new_session=True
        )
        assert self._server.stdout is not None
        found = re.search(r"http://([\w.]+):(\d+)", self._server.stdout.readline())
        if found is None:
            raise Failed(f"the server did not start: {self._errors.read_text()}")
        self._address = found[1], int(found[2])

    def take(self, case: Case) -> str:
        data = _request(case.rng)
        case.tried.append(repr(data[:4000]))
        status = self._sent(data)
        if "Traceback" in self._errors.read_text()[-4000:]:
            raise Failed(f"the server says\n{self._errors.read_text()[-4000:]}")
        if status >= 500:
            raise Failed(f"status {status}")
        if status == 0 and self._sent(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n") != 200:
            raise Failed("the server says nothing any more")
        return str(status) if status else "hung up"

    def _sent(self, data: bytes) -> int:
        """The status that comes back over one connection, which is made anew when the server hangs up; else 0."""
        if self._connection is None:
            self._connection = socket.create_connection(self._address, timeout=20)
        received, part = b"", b" "
        try:
            self._connection.sendall(data)
            while part and (b"\r\n\r\n" not in received or not _whole(received)):
                part = self._connection.recv(1 << 16)
                received += part
        except OSError:
            part = b""
        if not part or b"connection: close" in received.lower():
            self._connection.close()
            self._connection = None
        found = STATUS.match(received)
        return int(found[1]) if found else 0

    def watch(self, done: int, cases: int) -> None:
        if done == max(1, cases // 10):
            self._early = self._memory()

    def told(self) -> dict[str, Any]:
        if not self._early or self._server.poll() is not None:
            return {}
        sizes = {"early": self._early, "late": self._memory()}
        return {f"mebibytes_{when}": round(size / 2**20, 1) for when, size in sizes.items()}

    def _memory(self) -> int:
        return int(psutil.Process(self._server.pid).memory_info().rss)

    def close(self) -> None:
        self._server.kill()
        self._server.wait()
        if self._server.stdout is not None:
            self._server.stdout.close()


def _anything(rng: random.Random, depth: int = 0) -> object:
    """JSON of any kind."""
    kind = rng.random()
    if depth > 4 or kind < 0.3:
        return rng.choice(SCALARS)
    if kind < 0.5:
        return [_anything(rng, depth + 1) for _ in range(rng.randrange(5))]
    if kind < 0.75:
        return [[rng.uniform(-10.1, 10.1) for _ in range(rng.choice((3, 3, 3, 2)))] for _ in range(rng.randrange(1, 4))]
    return {rng.choice(KEYS): _anything(rng, depth + 1) for _ in range(rng.randrange(4))}


def _body(rng: random.Random) -> bytes:
    if rng.random() < 0.01:
        return b"[" * 10_000
    made = bytearray(json.dumps(_anything(rng) if rng.random() < 0.4 else {"inputs": _anything(rng)}).encode())
    if rng.random() < 0.3:
        for _ in range(rng.randrange(1, 4)):
            made[rng.randrange(len(made))] = rng.randrange(256)
    if rng.random() < 0.02:
        made += b" " * 200_000
    return bytes(made[: rng.randrange(len(made))] if rng.random() < 0.05 else made)


def _request(rng: random.Random) -> bytes:
    made = _body(rng)
    method = rng.choice((b"POST",) * 8 + (b"GET", b"PUT", b"BREW"))
    path = rng.choice(
        (b"/predict",) * 5 + (b"/feedback",) * 3 + (b"/act", b"/x" * 99, b"/%00%ff", b"/metrics", b"/?a=%")
    )
    kind = rng.choice((b"application/json",) * 12 + (b"text/plain", bytes(rng.randrange(33, 126) for _ in range(9))))
    head = b"%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n" % (method, path, kind)
    if rng.random() < 0.03:
        return head + b"Content-Length: x\r\n\r\n" + made
    if rng.random() < 0.1:
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (made[:7], made[7:]) if part)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(made) + made


def _whole(received: bytes) -> bool:
    """Whether a body is there as long as its head says."""
    head, _, rest = received.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head.lower())
    return found is None or len(rest) >= int(found[1])
