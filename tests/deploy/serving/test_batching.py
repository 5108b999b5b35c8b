"""Requests that wait together are one run, and each gets its own answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server_harness import FLOAT, INT, classifier, graph, helper, write

from rlcl.deploy.deployment import Deployment
from rlcl.deploy.serving.batching import Batcher, BatchResult
from rlcl.deploy.serving.loaded_model import QUICK_SECONDS, LoadedModel
from rlcl.deploy.serving.request_errors import RequestError
from rlcl.deploy.serving.service import Service
from rlcl.deploy.serving.settings import ServerSettings
from rlcl.deploy.signature import Field, Signature
from rlcl.errors import BundleError

Array = np.ndarray[Any, Any]


def load(folder: Path) -> LoadedModel:
    return LoadedModel.load(folder, ".", 1, 4)


def rows(*values: list[float]) -> dict[str, Array]:
    return {"input": np.array(values, np.float32)}


def run(
    work: Callable[[Batcher, list[BatchResult]], Coroutine[Any, Any, None]], max_rows: int = 4, wait: float = 0.0
) -> None:
    """Lets a batcher work beside something."""

    async def both() -> None:
        runs: list[BatchResult] = []
        batcher = Batcher(max_rows, wait, 5, runs.append, lambda _: None)
        task = asyncio.create_task(batcher.work())
        await work(batcher, runs)
        task.cancel()
        batcher.close()

    asyncio.run(both())


def classes(answers: list[bytes]) -> list[list[int]]:
    return [json.loads(answer)["class"] for answer in answers]


def test_what_waits_is_one_run_up_to_its_size(tmp_path: Path) -> None:
    loaded = load(classifier(tmp_path / "larger"))

    async def work(batcher: Batcher, runs: list[BatchResult]) -> None:
        wanted = [
            batcher.submit(loaded, rows([1, 0, 0]), None),
            batcher.submit(loaded, rows([0, 1, 0], [1, 0, 0]), None),
            batcher.submit(loaded, rows([0, 1, 0], [0, 2, 0]), None),  # the fourth and fifth row
            batcher.submit(loaded, rows(*[[0, 1, 0]] * 6), None),  # more than a run holds: one of its own
        ]
        answers = await asyncio.gather(*wanted)
        assert [[0], [1, 0], [1, 1], [1] * 6] == classes(answers)
        assert [3, 2, 6] == [len(ran.ids) for ran in runs]
        ids = [id for answer in answers for id in json.loads(answer)["ids"]]
        assert [id for ran in runs for id in ran.ids] == ids
        assert sorted(set(ids)) == ids

    run(work)


def test_a_wait_joins_what_comes_meanwhile(tmp_path: Path) -> None:
    loaded = load(classifier(tmp_path / "larger"))

    async def work(batcher: Batcher, runs: list[BatchResult]) -> None:
        first = batcher.submit(loaded, rows([1, 0, 0]), None)
        await asyncio.sleep(0.02)
        second = batcher.submit(loaded, rows([0, 1, 0]), None)
        await asyncio.gather(first, second)
        assert [2] == [len(ran.ids) for ran in runs]

    run(work, wait=0.2)


def test_a_full_queue_refuses(tmp_path: Path) -> None:
    loaded = load(classifier(tmp_path / "larger"))

    async def work(batcher: Batcher, runs: list[BatchResult]) -> None:
        waiting = [batcher.submit(loaded, rows([1, 0, 0]), None) for _ in range(5)]
        with pytest.raises(RequestError) as refused:
            batcher.submit(loaded, rows([1, 0, 0]), None)
        assert (503, {"retry-after": "1"}) == (refused.value.status, refused.value.headers)
        await asyncio.gather(*waiting)

    run(work)


def test_two_bundles_share_no_run(tmp_path: Path) -> None:
    old, new = load(classifier(tmp_path / "old")), load(classifier(tmp_path / "new", weight=-1.0))

    async def work(batcher: Batcher, runs: list[BatchResult]) -> None:
        wanted = [batcher.submit(loaded, rows([1, 0, 0]), None) for loaded in (old, old, new, old)]
        answers = await asyncio.gather(*wanted)
        assert [[0], [0], [1], [0]] == classes(answers)
        assert [2, 1, 1] == [len(ran.ids) for ran in runs]

    run(work)


def test_a_request_that_the_model_cannot_bear_fails_alone(tmp_path: Path) -> None:
    """The graph looks the input up in a table of three, which the signature does not say."""
    nodes = [helper.make_node("Gather", ["table", "input"], ["value"])]
    model = graph(nodes, [("input", INT, [])], [("value", FLOAT, [1])], table=np.eye(3, 1, dtype=np.float32))
    signature = Signature(
        kind="regressor",
        inputs=(Field(name="input", shape=(), dtype="int64"),),
        outputs=(Field(name="value", shape=(1,), dtype="float32"),),
    )
    loaded = load(write(tmp_path / "table", signature, model))

    async def work(batcher: Batcher, runs: list[BatchResult]) -> None:
        wanted = [batcher.submit(loaded, {"input": np.array([i])}, None) for i in (0, 7, 1)]
        first, second, third = await asyncio.gather(*wanted, return_exceptions=True)
        assert [[1.0]] == json.loads(first)["value"]
        assert isinstance(second, Exception)
        assert [[0.0]] == json.loads(third)["value"]

    run(work)


def test_a_slow_model_runs_beside_the_loop_and_has_a_limit(tmp_path: Path) -> None:
    bundle = classifier(tmp_path / "slow", work=40)
    settings = ServerSettings(log=False, max_batch=64, timeout=0.001)
    service = Service(Deployment(bundle), settings)
    assert not service.loaded.quick, QUICK_SECONDS

    async def work() -> None:
        task = asyncio.create_task(service.batcher.work())
        with pytest.raises(RequestError, match=r"503 late: the answer took longer than 0\.001 s"):
            await service.predict({"inputs": [[1.0, 0.0, 0.0]] * 64})
        task.cancel()

    asyncio.run(work())
    service.batcher.close()


def test_a_graph_that_is_not_as_its_signature_says_is_refused(tmp_path: Path) -> None:
    bundle = classifier(tmp_path / "larger")
    other = classifier(tmp_path / "other", classes=("a", "b", "c"))
    (bundle / "model.onnx").write_bytes((other / "model.onnx").read_bytes())
    from rlcl.deploy.bundle import seal

    seal(bundle)
    with pytest.raises(
        BundleError, match=r"float32 \(4, 2\) for probabilities, but model.onnx returns float32 \(4, 3\)"
    ):
        load(bundle)
