"""The log's thread: order, and disks that fail."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import classifier, counted, get, said, serving

from rlcl.deploy.client import Client, ClientError
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import Feedback, Log
from rlcl.deploy.serving import writing
from rlcl.deploy.serving.batching import Ran
from rlcl.deploy.serving.refused import Refused
from rlcl.deploy.serving.served import Served
from rlcl.deploy.serving.writing import Writer


def ran(served: Served, *ids: str) -> Ran:
    n = len(ids)
    return Ran(
        served,
        1.0,
        ids,
        [None] * n,
        [None] * n,
        {"input": np.zeros((n, 3), np.float32)},
        {"class": np.zeros(n, np.int64), "probabilities": np.full((n, 2), 0.5, np.float32)},
    )


def told(*ids: str) -> list[Feedback]:
    return [Feedback(id=id, time=2.0, value="one") for id in ids]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served.load(classifier(tmp_path / "larger"), ".", 1, 4)


def work(path: Path, do: Callable[[Writer], Coroutine[Any, Any, None]]) -> None:
    writer = Writer(path, 3)
    try:
        asyncio.run(do(writer))
    finally:
        writer.close(10)


def ids(path: Path) -> list[str]:
    return [id for (id,) in sqlite3.connect(path).execute("select id from requests order by number")]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_feedback_finds_the_answer_that_came_just_before(served: Served, tmp_path: Path) -> None:
    async def do(writer: Writer) -> None:
        writer.keep(ran(served, "a", "b"))
        first = writer.tell(told("a", "x"))
        writer.keep(ran(served, "c"))
        second = writer.tell(told("c"))
        assert [True, False] == await first
        assert [True] == await second

    work(tmp_path / "log", do)
    assert ["a", "b", "c"] == ids(tmp_path / "log")


def test_what_is_left_is_written_at_the_end(served: Served, tmp_path: Path) -> None:
    writer = Writer(tmp_path / "log", 3)
    names = [f"{i:04}" for i in range(500)]
    for start in range(0, 500, 50):
        writer.keep(ran(served, *names[start : start + 50]))
    assert writer.close(10)
    assert names == ids(tmp_path / "log")
    (page,) = Log.open(tmp_path / "log").pages()
    assert 500 == len(page.numbers)


def test_while_another_process_holds_the_log_nothing_is_lost(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(writing, "RETRY_SECONDS", 0.05)
    path = tmp_path / "log"

    async def do(writer: Writer) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        writer.keep(ran(served, "a"))
        with pytest.raises(Refused, match="503 log: the log cannot be written now"):
            await writer.tell(told("a"))
        assert not writer.ready
        other.execute("rollback")
        other.close()
        until(lambda: writer.ready)
        assert [True] == await writer.tell(told("a"))

    work(path, do)
    assert ["a"] == ids(path)


def test_rows_that_cannot_be_kept_are_counted(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "KEPT_ROWS", 2)
    monkeypatch.setattr(writing, "GATHER_SECONDS", 1.0)
    writer = Writer(tmp_path / "log", 3)
    writer.keep(ran(served, "a", "b"))
    writer.keep(ran(served, "c"))
    assert writer.close(10)
    assert 1 == writer.lost
    assert ["a", "b"] == ids(tmp_path / "log")


def test_a_log_that_was_moved_away_begins_anew(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "log"

    async def do(writer: Writer) -> None:
        writer.keep(ran(served, "a"))
        assert [True] == await writer.tell(told("a"))
        for file in tmp_path.glob("log*"):
            file.rename(tmp_path / f"old{file.name[3:]}")
        writer.keep(ran(served, "b"))
        assert [False, True] == await writer.tell(told("a", "b"))

    work(path, do)
    assert ["a"] == ids(tmp_path / "old")
    assert ["b"] == ids(path)
    assert [1] == [len(page.numbers) for page in Log.open(path).pages()]


def test_on_a_full_disk_predictions_go_on(tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    bundle = classifier(tmp_path / "larger")
    with serving(bundle, preexec_fn=limited) as server, Client(server.url, retries=0) as client:
        assert client.ready()
        until(lambda: (client.predict([[1.0, 0.0, 0.0]] * 500), not client.ready())[1])
        made = client.predict([[1.0, 0.0, 0.0]])
        with pytest.raises(ClientError, match="503: the log cannot be written now"):
            client.feedback(made["ids"][0], label="one")
        assert (503, b'{"ready":false}') == get(f"{server.url}/ready")
        assert 0 == counted(server.url, "rlcl_ready")
        assert counted(server.url, "rlcl_log_waiting_rows") > 0
        assert 1 == server.end()  # not all of it could be written
    assert "the log cannot be written: " in said(bundle)
    assert Log.open(Deployment(bundle).log).pages()
