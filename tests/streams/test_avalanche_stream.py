"""Avalanche's benchmarks through rlcl hold what Avalanche itself gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import write_mnist

import rlcl.data.readers.avalanche
from rlcl.data.avalanche_import import import_avalanche, suppressed_deprecations
from rlcl.data.readers.avalanche import AvalancheData
from rlcl.data.readers.torchvision import IDX_FILES
from rlcl.errors import DataError, Problem
from rlcl.learners.supervised.classifier import Classifier
from rlcl.seeding import Seeds, global_state
from rlcl.streams.avalanche import AvalancheStream
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.stream import Stream
from rlcl.training.trainer import Trainer
from rlcl.types import Budget

REAL = Path(os.environ.get("RLCL_DATA") or Path(__file__).parents[2].parent / "shared" / "data")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_mnist(tmp_path)
    monkeypatch.setenv("RLCL_DATA", str(tmp_path))
    return tmp_path


def stream(benchmark: str, **options: Any) -> Stream:
    return AvalancheStream(benchmark=benchmark, options=options).make(Seeds(0), Budget(epochs=1))


def own(benchmark: str, root: Path, **options: Any) -> Any:
    with suppressed_deprecations():
        return getattr(import_avalanche().benchmarks, benchmark)(dataset_root=root, **options)


def assert_equal(theirs: Any, ours: Any, every: int = 1) -> None:
    """All labels are equal, and every so many images."""
    assert [int(t) for t in theirs.dataset.targets] == ours.targets.tolist()
    rows = torch.arange(0, len(ours), every)
    for row, image in zip(rows.tolist(), ours.subset(rows).read()[0], strict=True):
        assert torch.equal(theirs.dataset[row][0], image)


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize(
    ("benchmark", "options"),
    [
        ("SplitMNIST", {"n_experiences": 5, "seed": 3}),
        ("SplitMNIST", {"n_experiences": 2, "fixed_class_order": [9, 1, 2, 3, 4, 5, 6, 7, 8, 0]}),
        ("PermutedMNIST", {"n_experiences": 2, "seed": 3}),
        ("RotatedMNIST", {"n_experiences": 2, "rotations_list": [0, 90]}),
    ],
)
def test_each_experience_holds_the_same_images(
    benchmark: str, options: dict[str, Any], held: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not held:
        monkeypatch.setattr(rlcl.data.readers.avalanche, "MAX_BYTES_IN_MEMORY", 0)
    ours, theirs = stream(benchmark, **options), own(benchmark, root, **options)
    assert len(theirs.train_stream) == len(ours)
    for index, experience in enumerate(ours):
        assert_equal(theirs.train_stream[index], experience.train)
        assert_equal(theirs.test_stream[index], experience.test)
        assert sorted(theirs.train_stream[index].classes_in_this_experience) == list(ours.spec.task_classes[index])


@pytest.mark.skipif(not all((REAL / "MNIST" / "raw" / n).is_file() for n in IDX_FILES), reason="MNIST is not here")
def test_the_real_split_mnist_holds_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLCL_DATA", str(REAL))
    monkeypatch.setattr(rlcl.data.readers.avalanche, "MAX_BYTES_IN_MEMORY", 0)  # reads those images alone
    ours, theirs = stream("SplitMNIST", n_experiences=5, seed=1), own("SplitMNIST", REAL, n_experiences=5, seed=1)
    assert 60_000 == sum(len(e.train) for e in ours)  # type: ignore[arg-type]
    for index, experience in enumerate(ours):
        assert_equal(theirs.train_stream[index], experience.train, every=97)
        assert_equal(theirs.test_stream[index], experience.test, every=97)


def test_a_held_stream_is_one_tensor_and_a_larger_one_none(monkeypatch: pytest.MonkeyPatch) -> None:
    held = stream("SplitMNIST", n_experiences=5)
    assert 1 == len({e.train.inputs.data_ptr() for e in held})  # type: ignore[union-attr]
    monkeypatch.setattr(rlcl.data.readers.avalanche, "MAX_BYTES_IN_MEMORY", 2 * 20 * 28 * 28 * 4 - 1)
    larger = stream("PermutedMNIST", n_experiences=2)
    assert [(20,), (20,)] == [tuple(e.train.inputs.shape) for e in larger]  # type: ignore[union-attr]
    assert (1, 28, 28) == larger.spec.observation_shape


def test_names_say_the_classes_or_the_number() -> None:
    order = [4, 1, 0, 2, 3, 5, 6, 7, 8, 9]
    assert ["SplitMNIST 1, 4", "SplitMNIST 0, 2"] == [
        e.name for e in stream("SplitMNIST", n_experiences=5, fixed_class_order=order)[:2]
    ]
    assert ["PermutedMNIST 0", "PermutedMNIST 1"] == [e.name for e in stream("PermutedMNIST", n_experiences=2)]


def test_the_runs_seed_decides_the_benchmark_and_no_global_generator_is_touched() -> None:
    before = global_state()
    scenario = AvalancheStream(benchmark="SplitMNIST", options={"n_experiences": 5})
    classes = [scenario.make(Seeds(seed), Budget(epochs=1)).spec.task_classes for seed in (0, 0, 1)]
    assert classes[0] == classes[1] != classes[2]
    assert torch.equal(before["torch"], global_state()["torch"])


def test_it_is_learned_from_like_any_stream() -> None:
    outcome = Trainer(Classifier(), stream("SplitMNIST", n_experiences=5)).fit()
    assert (5, 5) == outcome.R.shape


def test_the_whole_benchmark_is_a_data_set_for_other_streams() -> None:
    data = AvalancheData(benchmark="SplitMNIST", options={"n_experiences": 5, "shuffle": False})
    whole = data.load()
    assert ((20, 1, 28, 28), 10, "SplitMNIST") == (tuple(whole.train_inputs.shape), whole.classes, whole.name)
    made = ClassIncremental(data=data, experiences=2).make(Seeds(0), Budget(epochs=1))
    assert [10, 10] == [len(e.train) for e in made]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("benchmark", "options", "message"),
    [
        ("SplitMINST", {}, "benchmark: unknown benchmark 'SplitMINST'; did you mean SplitMNIST"),
        (
            "SplitMNIST",
            {"experiences": 5},
            "options.experiences: SplitMNIST has no option 'experiences'; did you mean n_exp",
        ),
        ("SplitMNIST", {}, "options.n_experiences: missing; SplitMNIST requires it"),
        (
            "SplitMNIST",
            {"n_experiences": 5, "return_task_id": True},
            "options.return_task_id: rlcl sets it; set the stream's visibility",
        ),
    ],
)
def test_a_name_that_does_not_exist_is_a_problem(benchmark: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(Problem, match=message):
        stream(benchmark, **options)


def test_missing_files_are_named_with_their_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "MNIST" / "raw" / IDX_FILES[0]).unlink()
    import_avalanche()
    from rlcl.data.torchvision_import import torchvision_datasets

    monkeypatch.setattr(torchvision_datasets().MNIST, "mirrors", ["http://127.0.0.1:9/"])  # the discard port: refused
    with pytest.raises(DataError, match=r"benchmark 'SplitMNIST': its files are not complete in .*RLCL_DATA"):
        stream("SplitMNIST", n_experiences=5)
