"""Inputs that stay on disk: the same rows, the same minibatches, the same weights as from memory."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from harness import classifier, differences, learn_all, prepared, weights
from PIL import Image

from rlcl.data.readers.files import Npy
from rlcl.data.readers.images import ImageFolder
from rlcl.data.sources import LabelledArrays, loaded, read_chunks
from rlcl.encoders.scale import Scale
from rlcl.encoders.standardize import Standardize
from rlcl.errors import DataError
from rlcl.evaluation.plan import Plan
from rlcl.learners.unsupervised.kmeans import KMeans
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.joint import Joint
from rlcl.streams.permuted import Permuted
from rlcl.streams.stream import Stream
from rlcl.tracking.manifest import data_hash
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, DataSet, Event


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind in range(4):
        (tmp_path / "pictures" / f"kind{kind}").mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 100, (6, 5, 3)) + 40 * kind
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "pictures" / f"kind{kind}" / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for half, rows in (("train", 40), ("test", 12)):
        y = np.arange(rows) % 4
        np.save(tmp_path / f"x_{half}.npy", rng.normal(size=(rows, 5)) + 2 * np.eye(4, 5)[y])
        np.save(tmp_path / f"y_{half}.npy", y)
    return tmp_path


def folder(path: Path, storage: str, workers: int = 0) -> Any:
    return ImageFolder(path=str(path), storage=storage, workers=workers)  # type: ignore[arg-type]


def npy(path: Path, storage: str, workers: int = 0) -> Any:
    return Npy(path=str(path), storage=storage, workers=workers)  # type: ignore[arg-type]


def two_tasks(data: DataSet, **settings: Any) -> Stream:
    return ClassIncremental(data=data, experiences=2, **settings).make(Seeds(0), Budget(epochs=2))


@pytest.mark.parametrize("make", [folder, npy])
def test_rows_read_from_disk_equal_those_in_memory(make: Any, pictures: Path, arrays: Path) -> None:
    path = pictures if make is folder else arrays
    memory, disk = loaded(make(path, "memory")), loaded(make(path, "stream"))
    rows = torch.tensor([5, 0, 7])
    assert (False, True) == (memory.train.streamed, disk.train.streamed)
    assert memory.train_inputs.shape == disk.train_inputs.shape
    assert memory.train_inputs.dtype == disk.train_inputs.dtype
    assert torch.equal(memory.train.subset(rows).read()[0], disk.train.subset(rows).read()[0])
    assert torch.equal(memory.train.read()[0], disk.train.read()[0])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("make", [folder, npy])
def test_the_learned_weights_are_those_of_memory(make: Any, workers: int, pictures: Path, arrays: Path) -> None:
    path = pictures if make is folder else arrays
    found = {}
    for storage in ("memory", "stream"):
        stream = two_tasks(make(path, storage, workers))
        learner = prepared(classifier(), stream, encoder=Standardize())
        learn_all(learner, stream)
        found[storage] = weights(learner)
    assert not differences(found["memory"], found["stream"])


@pytest.mark.parametrize("scenario", [Permuted(experiences=2), Joint()])
def test_transformed_and_joined_streams_learn_the_same(scenario: Any, arrays: Path) -> None:
    import attrs

    found = {}
    for storage in ("memory", "stream"):
        data = npy(arrays, storage)
        of = {"data": data} if isinstance(scenario, Permuted) else {"of": ClassIncremental(data=data, experiences=2)}
        stream = attrs.evolve(scenario, **of).make(Seeds(0), Budget(epochs=2))
        learner = prepared(classifier(), stream)
        learn_all(learner, stream)
        found[storage] = weights(learner)
    assert not differences(found["memory"], found["stream"])


@pytest.mark.parametrize("stop", [1, 3, 5, 6, 9])
def test_a_stream_read_ahead_by_workers_resumes_where_it_stopped(stop: int, pictures: Path) -> None:
    stream = two_tasks(folder(pictures, "stream", 2))

    def trainer() -> Trainer:
        return Trainer(classifier(batch_size=5), stream, Plan(), encoder=Scale())

    whole = trainer()
    whole.fit()
    first, made = trainer(), 0
    for item in first.events():
        made += item is None or isinstance(item, Event)
        if made == stop:
            break
    second = trainer()
    second.load_state_dict(first.state_dict())
    second.fit()
    assert not differences(weights(whole.learner), weights(second.learner))


def test_evaluation_reads_a_piece_at_a_time(monkeypatch: pytest.MonkeyPatch, arrays: Path) -> None:
    monkeypatch.setattr("rlcl.data.sources.ROWS_PER_CHUNK", 5)
    memory, disk = loaded(npy(arrays, "memory")).test, loaded(npy(arrays, "stream")).test
    assert [12] == [len(x) for x, _ in read_chunks(memory)]
    assert [5, 5, 2] == [len(x) for x, _ in read_chunks(disk)]
    records = []
    for storage in ("memory", "stream"):
        outcome = Trainer(classifier(), two_tasks(npy(arrays, storage)), seed=1).fit()
        records.append(outcome.records)
    assert records[0] == records[1]


def test_learners_of_a_single_pass_read_a_minibatch_at_a_time(arrays: Path) -> None:
    found = []
    for storage in ("memory", "stream"):
        stream = ClassIncremental(data=npy(arrays, storage), experiences=2).make(Seeds(0), Budget(epochs=1))
        learner = prepared(KMeans(batch_size=4, clusters=4), stream)
        learn_all(learner, stream)
        found.append(learner.state_dict())
    assert not differences(found[0], found[1])


def test_the_choice_follows_the_free_memory_and_is_said(
    arrays: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not loaded(npy(arrays, "auto")).train.streamed
    assert "" == caplog.text
    needed = 52 * 5 * (8 + 4)  # rows x features x (float64 on disk and float32 encoded)
    for free, streamed in ((2 * needed, False), (2 * needed - 1, True)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free))
        with caplog.at_level(logging.WARNING):
            assert streamed == loaded(npy(arrays, "auto")).train.streamed
    assert "it is read from disk on demand (storage: stream); set storage: memory" in caplog.text


def test_a_value_that_is_not_finite_is_named_when_it_is_read(arrays: Path) -> None:
    x = np.load(arrays / "x_train.npy")
    x[17, 2] = np.nan
    np.save(arrays / "x_train.npy", x)
    source = loaded(npy(arrays, "stream")).train
    with pytest.raises(DataError, match=r"x_train\.npy: row 17 holds NaN or infinite values; remove or impute them"):
        source.read()


def test_a_folder_without_its_arrays_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x_train\.npy; expected x_train\.npy and x_test\.npy in the folder"):
        npy(tmp_path, "memory").load()


def test_an_array_of_objects_is_refused(arrays: Path) -> None:
    np.save(arrays / "x_train.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"x_train\.npy is no npy file of a plain array"):
        npy(arrays, "memory").load()


def test_the_manifests_hash_tells_other_files_without_reading_them(pictures: Path) -> None:
    before = data_hash(two_tasks(folder(pictures, "stream")))
    assert before == data_hash(two_tasks(folder(pictures, "stream")))
    (pictures / "kind0" / "0.png").rename(pictures / "kind0" / "00.png")
    assert before != data_hash(two_tasks(folder(pictures, "stream")))


def test_the_probes_rows_are_a_few_of_a_stream(arrays: Path) -> None:
    source = loaded(npy(arrays, "stream")).train
    assert isinstance(source, LabelledArrays)
    assert [0, 1, 2] == source.subset(torch.tensor([0, 1, 2])).targets.tolist()


def test_joined_streams_stay_on_disk(arrays: Path) -> None:
    data = npy(arrays, "stream")
    joint = Joint(of=Permuted(data=data, experiences=2)).make(Seeds(0), Budget(epochs=1))[0].train
    memory = Joint(of=Permuted(data=npy(arrays, "memory"), experiences=2)).make(Seeds(0), Budget(epochs=1))[0].train
    assert joint.streamed  # type: ignore[union-attr]
    rows = torch.tensor([41, 3, 79, 40, 39, 0])
    assert torch.equal(memory.subset(rows).read()[0], joint.subset(rows).read()[0])  # type: ignore[union-attr]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_wrong_in_a_worker_is_told_as_itself(workers: int, arrays: Path) -> None:
    x = np.load(arrays / "x_train.npy")
    x[:, 2] = np.nan
    np.save(arrays / "x_train.npy", x)
    stream = two_tasks(npy(arrays, "stream", workers))
    learner = prepared(classifier(), stream)
    with pytest.raises(DataError, match=r"holds NaN or infinite values; remove or impute them$"):
        learn_all(learner, stream)
