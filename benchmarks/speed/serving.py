"""Measure the requests per second of a digits classifier, compared with an empty endpoint and a naive torch endpoint.

    pip install fastapi  # for the other two endpoints; rlcl does not need it
    python benchmarks/speed/serving.py [rounds] [seconds]

All three run under uvicorn with uvloop and httptools, as separate processes, on loopback. There are 64 clients, each
with one connection and one pending request of one input of 64 numbers. Our server checks, batches, answers and logs
requests. On the same cores, ``rlcl monitor`` reads the log twice per second. The empty endpoint parses the body with
orjson and returns an empty object; it measures FastAPI alone. The naive endpoint runs torch once per request. One
process generates the load with raw sockets. Each round measures the three servers in turn, and the order is reversed
after each round. After each measurement there is a pause, in which the monitor processes the rest of the log.
"""

from __future__ import annotations

import asyncio
import json
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import orjson
import uvicorn
import uvloop
from fastapi import FastAPI, Request, Response

from rlcl.deploy.deployment import Deployment

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "robustness"))
from digits import SIZES, served, started, weights, write_bundle  # noqa: E402
from interleaved import RESULTS, ratio  # noqa: E402

CLIENTS = 64
PAUSE = 1.5  # seconds after each measurement
WANTED = {"empty": 0.7, "torch": 1.5}


class Client(asyncio.Protocol):
    """A connection that always has one pending request.

    Args:
        request: bytes of the request, which is sent repeatedly.
        seconds: list to which latencies are appended.
    """

    def __init__(self, request: bytes, seconds: list[float]) -> None:
        self.request, self.seconds = request, seconds
        self.missing, self.received = -1, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.missing < 0:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self.received.startswith(b"HTTP/1.1 200"):
                sys.exit(f"a server refused: {self.received!r}")
            at = self.received.index(b"content-length: ") + 16
            self.missing = end + 4 + int(self.received[at : self.received.index(b"\r", at)])
        if len(self.received) >= self.missing:
            self.seconds.append(time.perf_counter() - self.began)
            self.missing, self.received = -1, b""
            self.send()


async def load(address: str, request: bytes, seconds: float) -> list[float]:
    """Send requests for some seconds, and return the latencies of all answers."""
    host, port = address.split(":")
    found: list[float] = []
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Client(request, found), host, int(port)) for _ in range(CLIENTS)]
    await asyncio.sleep(seconds)
    for transport, _ in made:
        transport.abort()
    return found


def body() -> bytes:
    row = np.random.default_rng(1).integers(0, 17, SIZES[0]).astype(float).tolist()
    return json.dumps({"inputs": [row]}).encode()


@contextmanager
def beside(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run another process next to the servers; kill it at the end."""
    process = subprocess.Popen([sys.executable, *command])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def rival(name: str) -> None:
    """Serve the empty endpoint or the naive one."""
    app = FastAPI()

    if name == "empty":

        @app.post("/predict")
        async def empty(request: Request) -> Response:
            orjson.loads(await request.body())
            return Response(b"{}", media_type="application/json")

    else:
        import torch

        torch.set_num_threads(1)
        layers: list[torch.nn.Module] = []
        for w in weights():
            layer = torch.nn.Linear(*w.shape, bias=False)
            layer.weight.data = torch.from_numpy(w.T.copy())
            layers += [layer, torch.nn.ReLU()]
        network = torch.nn.Sequential(*layers[:-1]).eval()

        @app.post("/predict")
        async def naive(request: Request) -> Response:
            inputs = torch.tensor(orjson.loads(await request.body())["inputs"])
            with torch.no_grad():
                odds = network(inputs).softmax(1)
            made = {"class": odds.argmax(1).tolist(), "probabilities": odds.tolist()}
            return Response(orjson.dumps(made), media_type="application/json")

    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print("http://{}:{}".format(*listening.getsockname()), flush=True)
    options = {"access_log": False, "log_level": "error", "lifespan": "off", "ws": "none", "proxy_headers": False}
    config = uvicorn.Config(app, loop="uvloop", http="httptools", server_header=False, **options)
    uvicorn.Server(config).run([listening])


def main(rounds: int, seconds: float) -> None:
    """Print ratios, rates and latencies, and write them to the results."""
    request = body()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    request = head % len(request) + request
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    latencies: dict[str, list[float]] = {"rlcl": [], "empty": [], "torch": []}
    per_request: dict[str, list[float]] = {name: [] for name in latencies}
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(Path(folder) / "digits")
        commands = {"rlcl": served(bundle), **{name: [__file__, "--rival", name] for name in WANTED}}
        with (
            started(commands["rlcl"]) as (ours, _),
            started(commands["empty"]) as (empty, _),
            started(commands["torch"]) as (naive, _),
            ExitStack() as stack,
        ):
            watching = stack.enter_context(beside("-m", "rlcl", "monitor", str(bundle), "--watch", "0.5", "-q"))
            addresses = {"rlcl": ours, "empty": empty, "torch": naive}
            for number in range(rounds + 1):
                for name in addresses if number % 2 else reversed(addresses):
                    found = runner.run(load(addresses[name], request, seconds))
                    time.sleep(PAUSE)
                    if number:  # the first round warms up
                        per_request[name].append(seconds / len(found))
                        latencies[name] += found
            assert watching.poll() is None, "the monitor has ended"
            lines = Deployment(bundle).drift.read_text().count('"window"')
    runner.close()
    print(f"the monitor looked at {lines:,} windows of 500 requests")
    tell(per_request, latencies, f"python benchmarks/speed/serving.py {rounds} {seconds:g}")


def tell(per_request: dict[str, list[float]], latencies: dict[str, list[float]], command: str) -> None:
    rows = {
        name: {
            "requests_per_second": round(1 / float(np.median(per_request[name]))),
            **{f"p{q}_ms": round(1000 * float(np.percentile(latencies[name], q)), 2) for q in (50, 95, 99)},
        }
        for name in per_request
    }
    print(f"{'server':10} {'requests/s':>10} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}")
    for name, row in rows.items():
        print(f"{name:10} {row['requests_per_second']:10,} {row['p50_ms']:8} {row['p95_ms']:8} {row['p99_ms']:8}")
    ratios = {name: {**ratio(per_request, "rlcl", name), "at_least": wanted} for name, wanted in WANTED.items()}
    print(f"{'rlcl beside':12} {'ratio':>7} {'interval':>15} {'at least':>9}")
    for name, each in ratios.items():
        interval = f"{each['low']:.3f} to {each['high']:.3f}"
        missed = "  missed" if each["median"] < each["at_least"] else ""
        print(f"{name:12} {each['median']:7.3f} {interval:>15} {each['at_least']:9.2f}{missed}")
    content = {
        "command": command,
        "clients": CLIENTS,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "servers": rows,
        "ratios": ratios,
    }
    (RESULTS / "serving.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    if "--rival" in sys.argv:
        rival(sys.argv[2])
    else:
        arguments = sys.argv[1:]
        main(int(arguments[0]) if arguments else 15, float(arguments[1]) if len(arguments) > 1 else 2.0)
