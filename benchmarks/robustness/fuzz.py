"""Sends malformed requests: no error of the server's own, and no growth of its memory.

    python benchmarks/robustness/fuzz.py [requests]

Bodies are near to requests or far from them, damaged, cut off or too large; some heads are wrong as well. Memory is the
resident set after a tenth of the requests and at the end.
"""

from __future__ import annotations

import collections
import json
import random
import re
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
from digits import served, started, write_bundle

RESULTS = Path(__file__).parents[1] / "results" / "robustness_fuzz.json"
SCALARS = (
    0,
    -1,
    1.5,
    1e308,
    -(2**63),
    2**64 - 1,
    True,
    None,
    "",
    "x",
    "é\u0000",
    "1",
    [],
    {},
    "x" * 3000,
    float("nan"),
)
KEYS = ("inputs", "task_id", "state", "id", "label", "input", "", "observations")
STATUS = re.compile(rb"HTTP/1\.1 (\d+)")


def anything(rng: random.Random, depth: int = 0) -> object:
    """JSON of any kind."""
    kind = rng.random()
    if depth > 4 or kind < 0.3:
        return rng.choice(SCALARS)
    if kind < 0.6:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(5))]
    if kind < 0.75:
        return [
            [rng.uniform(0, 16.02) for _ in range(rng.choice((64, 64, 64, 63)))] for _ in range(rng.randrange(1, 4))
        ]
    return {rng.choice(KEYS): anything(rng, depth + 1) for _ in range(rng.randrange(4))}


def body(rng: random.Random) -> bytes:
    made = bytearray(json.dumps(anything(rng) if rng.random() < 0.5 else {"inputs": anything(rng)}).encode())
    if rng.random() < 0.3:
        for _ in range(rng.randrange(1, 4)):
            made[rng.randrange(len(made))] = rng.randrange(256)
    if rng.random() < 0.02:
        made += b" " * 200_000
    return bytes(made[: rng.randrange(len(made))] if rng.random() < 0.05 else made)


def request(rng: random.Random) -> bytes:
    """A request with a sound frame, or one whose head is wrong."""
    made = body(rng)
    method = rng.choice((b"POST",) * 8 + (b"GET", b"PUT", b"BREW"))
    path = rng.choice((b"/predict",) * 4 + (b"/feedback",) * 3 + (b"/act", b"/x" * 99, b"/%00%ff"))
    kind = rng.choice((b"application/json",) * 9 + (b"text/plain", bytes(rng.randrange(33, 126) for _ in range(9))))
    head = b"%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n" % (method, path, kind)
    if rng.random() < 0.03:
        return head + b"Content-Length: x\r\n\r\n" + made
    if rng.random() < 0.1:
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (made[:7], made[7:]) if part)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(made) + made


def sender(address: str) -> Callable[[bytes], int]:
    """Sends requests over one connection, which is made anew when the server hangs up; 0 where it says nothing."""
    host, port = address.split(":")
    connections: list[socket.socket] = []

    def send(data: bytes) -> int:
        if not connections:
            connections.append(socket.create_connection((host, int(port)), timeout=20))
        received = b""
        try:
            connections[0].sendall(data)
            while b"\r\n\r\n" not in received or not whole(received):
                part = connections[0].recv(1 << 16)
                if not part:
                    break
                received += part
        except OSError:
            part = b""
        if not part or b"connection: close" in received:
            connections.pop().close()
        found = STATUS.match(received)
        return int(found[1]) if found else 0

    return send


def whole(received: bytes) -> bool:
    """Whether a body is there as long as its head says."""
    head, _, rest = received.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head)
    return found is None or len(rest) >= int(found[1])


def main(requests: int) -> None:
    """Prints and keeps statuses and memory."""
    rng, statuses = random.Random(0), collections.Counter[int]()
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(Path(folder) / "digits")
        with started(served(bundle, "--max-body", "100000")) as (address, process):
            send, memory = sender(address), psutil.Process(process.pid)
            early = 0
            for number in range(requests):
                if number == requests // 10:
                    early = memory.memory_info().rss
                statuses[send(request(rng))] += 1
            late = memory.memory_info().rss
            assert send(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n") == 200, "the server is not ready"
    row = {
        "requests": requests,
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "errors": sum(count for status, count in statuses.items() if status >= 500),
        "mebibytes_early": round(early / 2**20, 1),
        "mebibytes_late": round(late / 2**20, 1),
    }
    print(row)
    RESULTS.write_text(
        json.dumps({"command": f"python benchmarks/robustness/fuzz.py {requests}", **row}, indent=2) + "\n"
    )
    if row["errors"]:
        sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
