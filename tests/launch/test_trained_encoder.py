"""Features that an earlier run has learned."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness import autoencoder_run, differences
from rich.console import Console

from rlcl.errors import CheckpointError, RunFolderError, UnsupportedError
from rlcl.experiment import Experiment, experiment_from, load_experiment
from rlcl.launch.build import make_trainer
from rlcl.launch.seeds import run_experiment
from rlcl.launch.trained_encoder import Trained
from rlcl.seeding import global_state

SHAPE = (2, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run."""
    return autoencoder_run(tmp_path_factory.mktemp("trained"), SHAPE)


def inputs() -> torch.Tensor:
    return torch.rand((7, *SHAPE), generator=torch.Generator().manual_seed(1))


def test_features_are_the_representation_that_the_run_ended_with(folder: Path) -> None:
    trainer = make_trainer(load_experiment(folder / "config.yaml"), 0)
    trainer.fit()  # the same config and seed
    expected = trainer.learner.represent(inputs())  # type: ignore[attr-defined]
    encoder = Trained(run=str(folder))
    assert (3,) == encoder.shape(SHAPE)
    assert torch.equal(expected, encoder.encode(inputs()))
    untrained = make_trainer(load_experiment(folder / "config.yaml"), 0).learner
    assert not torch.equal(untrained.represent(inputs()), expected)  # type: ignore[attr-defined]


def test_a_run_may_lie_anywhere(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "pretrained")
    assert torch.equal(Trained(run=str(folder)).encode(inputs()), Trained(run=str(copy)).encode(inputs()))


def test_a_folder_above_the_only_run_names_it(folder: Path) -> None:
    expected = Trained(run=str(folder)).encode(inputs())
    assert torch.equal(expected, Trained(run=str(folder.parents[1])).encode(inputs()))


def test_loading_it_leaves_generators_and_threads(folder: Path) -> None:
    torch.set_num_threads(2)
    random.random()
    torch.rand(1)
    before = global_state()
    Trained(run=str(folder)).shape(SHAPE)
    assert 2 == torch.get_num_threads()
    torch.set_num_threads(1)
    assert [] == differences(before, global_state())


def upon(folder: Path) -> Experiment:
    """A classifier on the run's features."""
    data = {"type": "npz", "path": str(folder.parents[3] / "inputs.npz")}
    return experiment_from(
        {
            "name": "upon",
            "stream": {"type": "single", "data": data},
            "encoder": ["identity", {"type": "trained", "run": str(folder)}],
            "learner": {"type": "classifier", "network": "linear"},
            "budget": {"epochs": 2},
        }
    )


def test_a_run_learns_upon_another(folder: Path, tmp_path: Path) -> None:
    (finished,) = run_experiment(upon(folder), tmp_path, Console(quiet=True))
    assert 0 <= finished.outcome.metrics["accuracy.average"] <= 1
    trainer = make_trainer(upon(folder), 0)
    trainer.fit()
    learner: Any = trainer.learner
    assert (2, 3) == tuple(learner.module[1].weight.shape)
    assert [] == [name for name in learner.module.state_dict() if "encode" in name]


def test_a_repetition_of_the_run_has_the_same_checksum(folder: Path, tmp_path: Path) -> None:
    again = autoencoder_run(tmp_path, SHAPE)
    Trained(run=str(again)).load_state_dict(Trained(run=str(folder)).state_dict())


def test_other_weights_are_refused_when_a_run_goes_on(folder: Path, tmp_path: Path) -> None:
    other = autoencoder_run(tmp_path, SHAPE, seeds=[1])
    with pytest.raises(CheckpointError, match="has other weights than when this run started"):
        Trained(run=str(other)).load_state_dict(Trained(run=str(folder)).state_dict())


def test_several_runs_in_a_folder_must_be_told_apart(tmp_path: Path) -> None:
    autoencoder_run(tmp_path, SHAPE, seeds=[0])
    autoencoder_run(tmp_path, SHAPE, seeds=[1])
    with pytest.raises(RunFolderError, match=r"runs contains 2 runs; choose one of .*seed0, .*seed1$"):
        Trained(run=str(tmp_path / "runs")).shape(SHAPE)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no run in .*; expected a folder such as runs/NAME/HASH/seed0"):
        Trained(run=str(tmp_path)).shape(SHAPE)


def test_an_unfinished_run_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "seed0"
    shutil.copytree(folder, copy)
    status = json.loads((copy / "status.json").read_text())
    (copy / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    with pytest.raises(RunFolderError, match="seed0 is interrupted; finish it first"):
        Trained(run=str(copy)).shape(SHAPE)


def test_a_run_without_checkpoints_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "seed0"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(CheckpointError, match="has no checkpoint; remove the run and repeat it"):
        Trained(run=str(copy)).shape(SHAPE)


def test_a_learner_without_a_representation_is_refused(tmp_path: Path) -> None:
    folder = autoencoder_run(tmp_path, SHAPE, {"type": "classifier", "network": "linear"})
    with pytest.raises(UnsupportedError, match="the learner classifier, which has no representation; autoencoder"):
        Trained(run=str(folder)).shape(SHAPE)


def test_inputs_of_another_shape_are_refused(folder: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"expects inputs of shape \(2, 3\), got \(4,\)"):
        Trained(run=str(folder)).shape((4,))


def test_it_takes_inputs_of_any_type(folder: Path) -> None:
    x = np.arange(12).reshape(2, *SHAPE)
    encoder = Trained(run=str(folder))
    assert torch.equal(encoder.encode(torch.from_numpy(x).float()), encoder.encode(torch.from_numpy(x)))
