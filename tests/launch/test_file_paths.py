"""Files that a config names by relative paths, found from another working directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rlcl.experiment import experiment_from
from rlcl.launch.file_paths import absolute_file_paths, with_absolute_paths
from rlcl.launch.restored_run import restore_run
from rlcl.launch.seeds import run_experiment
from rlcl.tracking.runs import find_runs


def test_a_run_is_restored_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLCL_DATA", raising=False)
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(20, 2)), y=np.arange(20) % 2)
    stream = {"type": "single", "data": {"type": "npz", "path": "x.npz"}}
    learner = {"type": "classifier", "network": {"type": "mlp", "hidden": [4]}}
    plain = {"name": "x", "stream": stream, "learner": learner, "budget": {"epochs": 1}, "sinks": []}
    run_experiment(experiment_from(plain), Path("runs"), Console(quiet=True))
    monkeypatch.chdir(elsewhere)
    (run,) = find_runs(here / "runs")
    assert {"x.npz": str(here / "x.npz")} == run.manifest["files"]
    restored = restore_run(run)
    assert 16 == len(restored.trainer.stream[0].arrays)
    assert "x.npz" == restored.experiment.stream.options.data.options.path  # as it was written


def test_files_that_are_gone_are_looked_for_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stream = {"type": "single", "data": {"type": "csv", "path": "x.csv"}}
    made = experiment_from({"name": "x", "stream": stream, "learner": {"type": "kmeans"}, "budget": {"epochs": 1}})
    assert {} == absolute_file_paths(made)
    assert made == with_absolute_paths(made, {"x.csv": str(tmp_path / "gone.csv")})
