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
from server_harness import classifier, get, metric_value, serving, standard_error

from rlcl.deploy.client import Client, ClientError
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import Feedback, RequestLog
from rlcl.deploy.serving import log_writer
from rlcl.deploy.serving.batching import BatchResult
from rlcl.deploy.serving.loaded_model import LoadedModel
from rlcl.deploy.serving.log_writer import LogWriter
from rlcl.deploy.serving.request_errors import RequestError


def ran(loaded: LoadedModel, *ids: str) -> BatchResult:
    n = len(ids)
    return BatchResult(
        loaded,
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
def loaded(tmp_path: Path) -> LoadedModel:
    return LoadedModel.load(classifier(tmp_path / "larger"), ".", 1, 4)


def work(path: Path, do: Callable[[LogWriter], Coroutine[Any, Any, None]]) -> None:
    writer = LogWriter(path, 3)
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


def test_feedback_finds_the_answer_that_came_just_before(loaded: LoadedModel, tmp_path: Path) -> None:
    async def do(writer: LogWriter) -> None:
        writer.add_answers(ran(loaded, "a", "b"))
        first = writer.add_feedback(told("a", "x"))
        writer.add_answers(ran(loaded, "c"))
        second = writer.add_feedback(told("c"))
        assert [True, False] == await first
        assert [True] == await second

    work(tmp_path / "log", do)
    assert ["a", "b", "c"] == ids(tmp_path / "log")


def test_what_is_left_is_written_at_the_end(loaded: LoadedModel, tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "log", 3)
    names = [f"{i:04}" for i in range(500)]
    for start in range(0, 500, 50):
        writer.add_answers(ran(loaded, *names[start : start + 50]))
    assert writer.close(10)
    assert names == ids(tmp_path / "log")
    (page,) = RequestLog.open(tmp_path / "log").pages()
    assert 500 == len(page.numbers)


def test_while_another_process_holds_the_log_nothing_is_lost(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(log_writer, "RETRY_SECONDS", 0.05)
    path = tmp_path / "log"

    async def do(writer: LogWriter) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        writer.add_answers(ran(loaded, "a"))
        with pytest.raises(RequestError, match="503 log: the log cannot be written now"):
            await writer.add_feedback(told("a"))
        assert not writer.ready
        other.execute("rollback")
        other.close()
        until(lambda: writer.ready)
        assert [True] == await writer.add_feedback(told("a"))

    work(path, do)
    assert ["a"] == ids(path)


def test_rows_that_cannot_be_kept_are_counted(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "MAX_WAITING_ROWS", 2)
    monkeypatch.setattr(log_writer, "GATHER_SECONDS", 1.0)
    writer = LogWriter(tmp_path / "log", 3)
    writer.add_answers(ran(loaded, "a", "b"))
    writer.add_answers(ran(loaded, "c"))
    assert writer.close(10)
    assert 1 == writer.lost
    assert ["a", "b"] == ids(tmp_path / "log")


def test_a_log_that_was_moved_away_begins_anew(loaded: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "log"

    async def do(writer: LogWriter) -> None:
        writer.add_answers(ran(loaded, "a"))
        assert [True] == await writer.add_feedback(told("a"))
        for file in tmp_path.glob("log*"):
            file.rename(tmp_path / f"old{file.name[3:]}")
        writer.add_answers(ran(loaded, "b"))
        assert [False, True] == await writer.add_feedback(told("a", "b"))

    work(path, do)
    assert ["a"] == ids(tmp_path / "old")
    assert ["b"] == ids(path)
    assert [1] == [len(page.numbers) for page in RequestLog.open(path).pages()]


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
        assert 0 == metric_value(server.url, "rlcl_ready")
        assert metric_value(server.url, "rlcl_log_waiting_rows") > 0
        assert 1 == server.end()  # not all of it could be written
    assert "the log cannot be written: " in standard_error(bundle)
    assert RequestLog.open(Deployment(bundle).log).pages()
