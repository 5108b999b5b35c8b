"""What sets two runs apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folders import write_run

from rlcl.errors import RunFolderError
from rlcl.tracking.difference import difference
from rlcl.tracking.runs import find_runs, named_runs


def test_only_what_differs_is_told_and_metrics_are_means_over_seeds(tmp_path: Path) -> None:
    write_run(tmp_path, "a/1/seed0", {"return.average": 1.0, "min": 5.0})
    write_run(tmp_path, "a/1/seed1", {"return.average": 2.0})
    write_run(tmp_path, "b/1/seed0", {"return.average": 4.0}, lr=0.01, packages={"torch": "2.9"})
    found = difference(named_runs("a", tmp_path), named_runs("b", tmp_path))
    assert {"name": ("a", "b"), "learner.lr": (0.001, 0.01)} == found.config
    assert {"packages.torch": ("2.8", "2.9")} == found.versions
    assert {"return.average": (1.5, 4.0), "min": (5.0, None)} == found.metrics
    assert (2, 1) == found.seeds


def test_several_experiments_are_refused(tmp_path: Path) -> None:
    for name in ("a/1/seed0", "a/2/seed0"):
        write_run(tmp_path, name, {})
    with pytest.raises(RunFolderError, match="expected one experiment, got 2; choose one of"):
        difference(find_runs(tmp_path), find_runs(tmp_path / "a" / "1" / "seed0"))


def test_a_config_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, "a/1/seed0", {})
    (path / "config.yaml").unlink()
    with pytest.raises(RunFolderError, match=r"config\.yaml cannot be read"):
        difference(find_runs(path), find_runs(path))
