"""What the arguments of ``rlcl compare`` stand for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from comparable_runs import write_learner

from rlcl.comparison.run_arguments import runs_of_arguments
from rlcl.errors import ConfigError, RunFolderError
from rlcl.experiment import load_experiment

EXPERIMENT = "name: mine\nstream: {type: single, data: digits}\nlearner: {type: nearest_mean}\nbudget: {epochs: 1}\n"


def names(root: Path, *arguments: object) -> list[str]:
    runs, _ = runs_of_arguments([str(argument) for argument in arguments], root)
    return [str(run.path.relative_to(root)) for run in runs]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    write_learner(folder, "ewc", [0.1, 0.2])
    write_learner(folder, "si", [0.3])
    return folder


def test_folders_names_and_patterns(root: Path) -> None:
    assert ["ewc/h/seed0", "ewc/h/seed1"] == names(root, root / "ewc")
    assert ["ewc/h/seed1"] == names(root, root / "ewc" / "h" / "seed1")
    assert ["ewc/h/seed0", "ewc/h/seed1", "si/h/seed0"] == names(root, "ewc", "si")
    assert ["ewc/h/seed0", "si/h/seed0"] == names(root, "*/seed0")
    assert 3 == len(names(root, root))


def test_an_experiment_s_file_stands_for_its_runs_as_it_is_now(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(EXPERIMENT)
    with pytest.raises(RunFolderError, match=r"has no run in .*rlcl run"):
        runs_of_arguments([str(file)], root)
    now = load_experiment(file).hash
    write_learner(root, "mine", [0.1], folder=now)
    write_learner(root, "mine", [0.1], folder="before")
    assert [f"mine/{now}/seed0"] == names(root, file)


def test_a_shipped_experiment_needs_no_path(root: Path) -> None:
    with pytest.raises(RunFolderError, match="quickstart has no run"):
        runs_of_arguments(["quickstart"], root)


def suite(root: Path, folder: str, budget: str) -> None:
    write_learner(root, folder, [0.1])
    cells = [{"run": f"{run}/seed0", "labels": {}} for run in ("h", "later")]
    (root / folder / "suite.json").write_text(json.dumps({"budget": budget, "cells": cells}))


def test_a_suite_is_found_by_name_or_file_and_tells_what_is_missing(root: Path, tmp_path: Path) -> None:
    suite(root, "grid-smoke", "smoke")
    file = tmp_path / "s.yaml"
    file.write_text("name: grid\nbase: {extends: quickstart}\nsweep: {seeds: [1]}\n")
    for argument in ("grid", file, root / "grid-smoke"):
        runs, missing = runs_of_arguments([str(argument)], root)
        assert ["h"] == [run.path.parent.name for run in runs]
        assert [(str(root / "grid-smoke/later/seed0"), "not run yet; start it with rlcl bench")] == missing


def test_a_suite_run_with_several_budgets_must_be_named_by_one(root: Path) -> None:
    suite(root, "grid-smoke", "smoke")
    suite(root, "grid-full", "full")
    with pytest.raises(RunFolderError, match=r"several budgets.*grid-full, .*grid-smoke"):
        runs_of_arguments(["grid"], root)


def test_what_is_no_run_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no run ewk in .*did you mean ewc"):
        runs_of_arguments(["ewk"], root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match="no run in this folder"):
        runs_of_arguments([str(tmp_path / "empty")], root)
    (tmp_path / "other.yaml").write_text("name: x\n")
    with pytest.raises(ConfigError, match="neither an experiment"):
        runs_of_arguments([str(tmp_path / "other.yaml")], root)
    with pytest.raises(ConfigError, match="no such file"):
        runs_of_arguments(["gone.yaml"], root)
