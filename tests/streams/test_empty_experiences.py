"""Experiences without rows: refused where there is nothing to learn, absent where there is nothing to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlcl.data import validation
from rlcl.errors import DataError
from rlcl.experiment import experiment_from
from rlcl.launch.build import make_stream, make_trainer


def experiment(path: Path, experiences: int, **settings: Any) -> Any:
    stream = {"type": "class_incremental", "data": {"type": "npz", "path": str(path)}, "experiences": experiences}
    learner = {"type": "classifier", "batch_size": 8, "network": {"type": "mlp", "hidden": [4]}}
    plain = {"name": "empty", "stream": stream, "learner": learner, "budget": {"epochs": 1}, "sinks": []}
    return experiment_from({**plain, **settings})


def saved(path: Path, labels: list[int]) -> Path:
    x = np.random.default_rng(0).normal(size=(len(labels), 3))
    np.savez(path, x=x, y=np.array(labels))
    return path


def test_classes_that_no_row_has_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "gaps.npz", [3, 10, 40] * 10)
    with pytest.raises(DataError, match="has no training rows; classes without training rows: 0-2, 4-9, 11-39; "):
        make_stream(experiment(path, 41), 0)


def test_gaps_within_experiences_that_have_rows_are_learned(tmp_path: Path) -> None:
    path = saved(tmp_path / "gap.npz", [0, 1, 2, 3, 5] * 10)
    assert [16, 16, 8] == [len(e.arrays) for e in make_stream(experiment(path, 3), 0)]


def test_without_test_rows_a_cell_is_absent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    validation.warn_once.cache_clear()
    path = saved(tmp_path / "one.npz", [0, 1, 2, 3] * 10 + [4, 5])
    made = experiment(path, 3)
    trainer = make_trainer(made, 0, make_stream(made, 0))
    assert "experience 2 (one 4-5) has no test rows" in caplog.text
    assert "such as average, are undefined" in caplog.text
    outcome = trainer.fit()
    assert np.isnan(outcome.R[:, 2]).all()
    assert np.isfinite(outcome.R[:, :2]).all()
    assert "accuracy.average" not in outcome.metrics
    assert outcome.metrics["forgetting.chaudhry"] >= 0
