"""A server's end, its violent end, and the exchange of its bundle, under load."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from server_harness import RunningServer, classifier, metric_value, serving, standard_error

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.client import Client, ClientError
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.promotion import promote, rollback


@contextmanager
def loaded(work: Callable[[], None], threads: int = 4) -> Iterator[None]:
    """Repeats something in threads; they have ended afterwards."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def repeat() -> None:
        while not ended.is_set():
            try:
                work()
            except BaseException as error:
                errors.append(error)
                return

    made = [threading.Thread(target=repeat) for _ in range(threads)]
    for thread in made:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in made:
            thread.join()
    assert [] == errors


def hung_up(error: ClientError) -> None:
    """Nothing may have been answered where the server has ended."""
    assert error.status is None, error
    time.sleep(0.05)


def candidate(deployment: Deployment, name: str, weight: float, passed: bool = True) -> Path:
    folder = classifier(deployment.candidates / name, weight=weight)
    told = {
        "passed": passed,
        "digest": deployment.digest(name),
        "parent": deployment.digest(deployment.alias_names()[0]),
    }
    deployment.verdict_file(name).write_text(json.dumps(told))
    return folder


def rows(bundle: Path) -> dict[str, str | None]:
    """Ids in the log, and the latest feedback of each."""
    query = "select id, (select value from feedback f where f.id = r.id) from requests r"
    with sqlite3.connect(Deployment(bundle).log) as connection:
        found = dict(connection.execute(query).fetchall())
    connection.close()
    return found


def test_the_end_answers_what_is_under_way_and_writes_all(tmp_path: Path) -> None:
    bundle = classifier(tmp_path / "larger")
    body = b'{"inputs": [[1, 0, 0]]}'
    head = f"POST /predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answered: list[str] = []

    def ask() -> None:
        try:
            answered.extend(client.predict([[1.0, 0.0, 0.0]] * 3)["ids"])
        except ClientError as error:
            hung_up(error)

    with serving(bundle) as server, Client(server.url, retries=0) as client, loaded(ask):
        where = urlsplit(server.url)
        with socket.create_connection((str(where.hostname), where.port or 80), timeout=20) as connection:
            connection.sendall(head + body[:5])
            while not answered:
                time.sleep(0.01)
            server.process.terminate()
            time.sleep(0.5)  # it is ending by now
            connection.sendall(body[5:])
            received = b""
            while data := connection.recv(1 << 16):
                received += data
        assert received.startswith(b"HTTP/1.1 200")
        answered.extend(json.loads(received.partition(b"\r\n\r\n")[2])["ids"])
        assert 0 == server.process.wait(10)
    assert set(answered) <= set(rows(bundle))
    assert "" == standard_error(bundle)


def test_the_end_comes_though_a_client_holds_on(tmp_path: Path) -> None:
    bundle = classifier(tmp_path / "larger")
    with serving(bundle, "--drain", "1") as server:
        where = urlsplit(server.url)
        with socket.create_connection((str(where.hostname), where.port or 80), timeout=20) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
            )
            time.sleep(0.2)
            started = time.monotonic()
            assert 0 == server.end()
            assert time.monotonic() - started < 5


def test_no_acknowledged_feedback_is_lost_by_a_kill(tmp_path: Path) -> None:
    bundle = classifier(tmp_path / "larger")
    acknowledged: list[str] = []
    for _ in range(3):
        before = len(acknowledged)
        with serving(bundle) as server, Client(server.url, retries=0, timeout=5) as client:

            def tell(client: Client = client) -> None:
                try:
                    ids = client.predict([[1.0, 0.0, 0.0]] * 4)["ids"]
                    acknowledged.extend(client.feedbacks([{"id": id, "label": "one"} for id in ids])["kept"])
                except ClientError as error:
                    hung_up(error)

            with loaded(tell):
                while len(acknowledged) < before + 40:
                    time.sleep(0.01)
                server.process.kill()
                server.process.wait()
    found = rows(bundle)
    assert len(acknowledged) >= 120
    assert [] == [id for id in acknowledged if found.get(id) != '"one"']


def test_bundles_are_exchanged_without_losing_a_request(tmp_path: Path) -> None:
    bundle = classifier(tmp_path / "larger")
    deployment = Deployment(bundle)
    smaller = Bundle.open(candidate(deployment, "0001", weight=-1.0)).digest
    larger = Bundle.open(bundle).digest
    wanted = {larger: [0, 1], smaller: [1, 0]}
    answers: Counter[str] = Counter()

    def ask() -> None:
        answer = client.predict([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        assert wanted[answer["bundle"]] == answer["class"]
        answers[answer["bundle"]] += 1

    def await_(digest: str) -> None:
        until, before = time.monotonic() + 20, answers[digest]
        while answers[digest] < before + 5:
            assert time.monotonic() < until
            time.sleep(0.01)

    with serving(bundle) as server, Client(server.url, retries=0) as client, loaded(ask):
        await_(larger)
        for _ in range(2):
            assert smaller == promote(deployment).digest
            await_(smaller)
            assert larger == rollback(deployment).digest
            await_(larger)
        assert 4 == metric_value(server.url, "rlcl_bundle_exchanges_total")
    assert standard_error(bundle).count("is deployed now") == 4


def test_a_bundle_that_does_not_load_leaves_the_old_one(tmp_path: Path) -> None:
    bundle = classifier(tmp_path / "larger")
    deployment = Deployment(bundle)
    broken = candidate(deployment, "0001", weight=-1.0)
    (broken / "model.onnx").write_bytes(b"changed")
    with serving(bundle) as server, Client(server.url) as client:
        deployment.set_alias(["0001", "."])
        await_failures(server, 1)
        assert [0] == client.predict([[1.0, 0.0, 0.0]])["class"]
        assert client.ready()
        deployment.alias.write_text("{")
        await_failures(server, 2)
        deployment.set_alias(["."])
        time.sleep(0.7)
        assert [0] == client.predict([[1.0, 0.0, 0.0]])["class"]
        shutil.rmtree(broken)
    assert "model.onnx was changed" in standard_error(bundle)
    assert f"{bundle} stays deployed" in standard_error(bundle)


def await_failures(server: RunningServer, count: int) -> None:
    until = time.monotonic() + 20
    while metric_value(server.url, "rlcl_bundle_load_failures_total") < count:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_second_server_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    bundle = classifier(tmp_path / "larger")
    command = [sys.executable, "-m", "rlcl", "serve", str(bundle), "--port"]
    with serving(bundle) as first:
        for port in ("0", str(urlsplit(first.url).port)):  # also where the port is taken
            second = subprocess.run([*command, port], capture_output=True, text=True, check=False)
            assert (1, "") == (second.returncode, second.stdout)
            assert second.stderr == (
                f"rlcl: another server (process {first.process.pid}) writes the log in {tmp_path}/larger.live; "
                "stop it, or use another folder with --live, or --no-log\n"
            )
        with (
            serving(bundle, "--live", str(tmp_path / "beside")) as beside,
            serving(bundle, "--no-log") as silent,
        ):
            for each in (first, beside, silent):
                with Client(each.url) as client:
                    assert [0] == client.predict([[1.0, 0.0, 0.0]])["class"]
        assert 0 == first.end()
    assert 1 == len(rows(bundle))
    with serving(bundle) as again:
        again.process.kill()
        again.process.wait()
        with serving(bundle):  # a killed one is in nobody's way
            pass


def test_where_no_bundle_is_nothing_is_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rlcl", "serve", str(tmp_path / "mistyped"), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.startswith(f"rlcl: {tmp_path}/mistyped is not a bundle")
    assert [] == list(tmp_path.iterdir())
