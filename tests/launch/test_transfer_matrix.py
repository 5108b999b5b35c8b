"""Whether the tasks of a stream interfere, from the returns of single-task policies on all tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from rlcl.commands import app
from rlcl.errors import UnsupportedError
from rlcl.experiment import load_experiment
from rlcl.launch.seeds import run_experiment
from rlcl.launch.transfer_matrix import TransferMatrix, transfer_matrix

QUIET = Console(quiet=True)

SIGNS = '''
import gymnasium as gym
import numpy as np


class Sign(gym.Env):
    """Shows a random sign; the action that equals it (or its opposite) pays 1. An episode has eight steps."""

    def __init__(self, opposite=False):
        self.observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.opposite = opposite

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._shown(), {}

    def _shown(self):
        self.sign = int(self.np_random.integers(2))
        return np.array([2 * self.sign - 1], np.float32)

    def step(self, action):
        self.steps += 1
        reward = float((action == self.sign) != self.opposite)
        return self._shown(), reward, False, self.steps == 8, {}
'''
EXPERIMENT = """
name: signs
stream:
  type: environments
  env: {folder}/signs.py:Sign
  tasks: [{{name: same}}, {{name: other, kwargs: {{opposite: {opposite}}}}}]
  num_envs: 4
learner:
  type: ppo
  n_steps: 32
  epochs: 4
  network: {{type: mlp, hidden: [16]}}
  optimizer: {{type: adam, lr: 1.0e-2}}
budget: {{env_steps: 1024}}
evaluation: {{episodes: 10, baselines: single_task}}
sinks: []
"""


def signs(folder: Path, opposite: bool) -> Path:
    (folder / "signs.py").write_text(SIGNS)
    (folder / "signs.yaml").write_text(EXPERIMENT.format(folder=folder, opposite=str(opposite).lower()))
    return folder / "signs.yaml"


def test_opposite_tasks_interfere(tmp_path: Path) -> None:
    matrix = transfer_matrix(load_experiment(signs(tmp_path, True)), tmp_path / "runs", QUIET)
    assert ("same", "other") == matrix.tasks
    assert (np.diag(matrix.returns) > 7).all()
    assert (matrix.returns[[0, 1], [1, 0]] < 1).all()
    assert (np.abs(matrix.random - 4) < 1).all()
    assert matrix.interferes
    assert matrix.statement.startswith("The tasks interfere")


def test_the_policies_are_the_baselines_of_the_runs(tmp_path: Path) -> None:
    experiment = load_experiment(signs(tmp_path, True))
    transfer_matrix(experiment, tmp_path / "runs", QUIET)
    before = {f: f.stat().st_mtime for f in tmp_path.rglob("records.jsonl")}
    run_experiment(experiment, tmp_path / "runs", QUIET)
    assert before == {f: f.stat().st_mtime for f in before}
    assert 2 == len(before) == len([f for f in tmp_path.rglob("records.jsonl") if "baselines" in f.parts])


@pytest.mark.parametrize("opposite", [True, False])
def test_the_profile_states_it_and_its_exit_status_gates(tmp_path: Path, opposite: bool) -> None:
    file = signs(tmp_path, opposite)
    result = CliRunner().invoke(
        app, ["profile", str(file), "--transfer", "--root", str(tmp_path / "runs"), "-o", str(tmp_path / "profile")]
    )
    assert (0 if opposite else 4) == result.exit_code, result.output
    assert ("The tasks interfere" if opposite else "The tasks hardly interfere") in " ".join(result.output.split())
    facts = json.loads((tmp_path / "profile" / "profile.json").read_text())["transfer"]
    assert opposite == facts["interferes"]
    assert "Return of single-task policies" in (tmp_path / "profile" / "profile.html").read_text()


def matrix(returns: Any, random: Any) -> TransferMatrix:
    return TransferMatrix(tuple("abc"[: len(random)]), np.array(returns, float), np.array(random, float))


def test_scores_and_the_best_common_policy_by_hand() -> None:
    three = matrix([[10, 4, 6], [8, 12, 2], [0, 0, 8]], [0, 2, 4])
    # Spans: 10, 10, 4.
    assert [[1, 0.2, 0.5], [0.8, 1, -0.5], [0, -0.2, 1]] == pytest.approx(three.scores)
    assert (0, pytest.approx(0.2)) == three.best_common
    assert three.interferes
    assert matrix([[10, 9], [9, 10]], [0, 0]).interferes is False
    unlearned = matrix([[1, 1], [1, 1]], [2, 2])
    assert unlearned.interferes is None
    assert "increase the budget" in unlearned.statement


def test_data_have_no_transfer_matrix(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text(
        "name: digits\nstream: {type: class_incremental}\nlearner: {type: classifier}\nbudget: {epochs: 1}\n"
    )
    with pytest.raises(UnsupportedError, match="--transfer needs a stream of environments"):
        transfer_matrix(load_experiment(tmp_path / "digits.yaml"), tmp_path, QUIET)
