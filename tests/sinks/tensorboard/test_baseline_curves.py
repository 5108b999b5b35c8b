"""Curves of single-task runs and scores, which TensorBoard draws into the charts of the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.sinks.tensorboard.baseline_curves import baseline_curves
from rlcl.tracking.folder import read_results
from rlcl.types import Record

POLES = {
    "name": "poles",
    "stream": {
        "type": "environments",
        "env": "CartPole-v1",
        "tasks": [{"name": "light"}, {"name": "heavy", "attributes": {"gravity": 40}}],
        "sequence": ["heavy", "light", "heavy"],
        "num_envs": 2,
    },
    "learner": {"type": "ppo", "n_steps": 32, "epochs": 1, "network": {"type": "mlp", "hidden": [8]}},
    "budget": {"env_steps": 128},
    "evaluation": {
        "every": {"env_steps": 64},
        "episodes": 2,
        "baselines": "single_task",
        "measures": ["return", "score"],
    },
}


def values(records: Sequence[Record], metric: str, column: int) -> list[float]:
    return [r.value for r in records if (r.metric, r.evaluated_on) == (metric, column)]


def curves(folder: Path) -> dict[str, dict[int, float]]:
    board = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: {e.step: e.value for e in board.Scalars(tag)} for tag in board.Tags()["scalars"]}


def test_single_task_runs_are_drawn_from_the_first_training_on_their_task(tmp_path: Path) -> None:
    (finished,) = run_experiment(experiment_from(POLES), tmp_path, Console(quiet=True))
    records = read_results(finished.path)
    drawn = curves(finished.path / "tensorboard" / "single_task")
    assert {"return/00 light", "return/01 heavy"} <= set(drawn)
    for column, tag, start in ((0, "return/00 light", 128), (1, "return/01 heavy", 0)):
        alone = values(records, "single_task.return", column)
        assert [start + 64, start + 128, 384] == list(drawn[tag])
        assert [*alone, alone[-1]] == pytest.approx(list(drawn[tag].values()))
    scores = values(records, "score", 0)
    shown = curves(finished.path / "tensorboard" / "scores") if scores else {}
    assert scores == pytest.approx(list(shown.get("score/00 light", {}).values()))


def test_baselines_that_are_added_later_are_drawn_and_runs_without_have_no_curves(tmp_path: Path) -> None:
    plain = {**POLES, "evaluation": {"every": {"env_steps": 64}, "episodes": 2}}
    (finished,) = run_experiment(experiment_from(plain), tmp_path, Console(quiet=True))
    assert {} == baseline_curves(finished.path)
    assert not (finished.path / "tensorboard" / "single_task").exists()
    added = {**plain, "evaluation": {**plain["evaluation"], "baselines": "single_task"}}
    run_experiment(experiment_from(added), tmp_path, Console(quiet=True))
    assert {"return/00 light", "return/01 heavy"} == set(curves(finished.path / "tensorboard" / "single_task"))
