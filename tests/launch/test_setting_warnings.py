"""What is remarked before a run, and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlcl.errors import UnsupportedError
from rlcl.experiment import experiment_from
from rlcl.launch.build import make_trainer
from rlcl.launch.seed_run import total_steps
from rlcl.launch.setting_warnings import _warn_once, warn_about_settings
from rlcl.learners.reinforcement.action_bounds import action_bounds_warning

WIDE = """
import gymnasium as gym
import numpy as np


class Wide(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1e6, 1e6, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.random(2, np.float32), {}

    def step(self, action):
        return self.np_random.random(2, np.float32), float(-abs(action[0])), False, True, {}
"""


def remarked(caplog: pytest.LogCaptureFixture, learner: dict[str, Any], env: str = "CartPole-v1") -> str:
    config = {
        "name": "remarked",
        "stream": {"type": "environments", "env": env},
        "learner": learner,
        "budget": {"env_steps": 200},
    }
    trainer = make_trainer(experiment_from(config), 0)
    _warn_once.cache_clear()  # it says nothing twice in one process
    warn_about_settings(trainer, total_steps(trainer))
    return caplog.text


@pytest.mark.parametrize(("starts", "expected"), [(200, True), (100, False)])
def test_a_start_of_learning_beyond_the_budget(caplog: pytest.LogCaptureFixture, starts: int, expected: bool) -> None:
    options = {"learning_starts": starts, "buffer_size": 100}
    for learner in (
        {"type": "dqn", "learning_starts": starts, "capacity": 100},
        {"type": "sb3", "algorithm": "DQN", "options": options},
    ):
        caplog.clear()
        assert expected == (f"learning_starts: {starts} env steps" in remarked(caplog, learner))


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "SAC", "TD3"])
def test_bounds_out_of_reach_of_stable_baselines(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, algorithm: str
) -> None:
    (tmp_path / "wide.py").write_text(WIDE)
    found = remarked(caplog, {"type": "sb3", "algorithm": algorithm}, f"{tmp_path / 'wide.py'}:Wide")
    assert (algorithm in ("PPO", "A2C")) == ("actions lie in [-1e+06, 1e+06]" in found)
    caplog.clear()
    options = {"n_steps": 128} if algorithm in ("PPO", "A2C") else {}
    assert "" == remarked(caplog, {"type": "sb3", "algorithm": algorithm, "options": options}, "Pendulum-v1")


@pytest.mark.parametrize(("n_steps", "expected"), [(1000, True), (130, False)])
def test_a_budget_that_is_rounded_up_to_a_round(caplog: pytest.LogCaptureFixture, n_steps: int, expected: bool) -> None:
    found = remarked(caplog, {"type": "ppo", "n_steps": n_steps})
    assert expected == ("budget.env_steps: 200 env steps are rounded up to 1,000, because learner ppo" in found)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0"])
def test_nothing_is_said_of_good_environments(caplog: pytest.LogCaptureFixture, env: str) -> None:
    assert "" == remarked(caplog, {"type": "ppo", "n_steps": 100}, env)


@pytest.mark.parametrize(
    ("low", "high", "log_std", "expected"),
    [
        (-1e6, 1e6, 0.0, True),
        (0, 1e-4, 0.0, True),
        (1000, 1001, 0.0, True),
        (-1e6, 1e6, 13.0, False),
        (-2, 2, 0.0, False),
        (0, 1, 0.0, False),
        (-np.inf, np.inf, 0.0, False),
    ],
)
def test_bounds_far_from_a_normal_distribution(low: float, high: float, log_std: float, expected: bool) -> None:
    assert expected == (action_bounds_warning(gym.spaces.Box(low, high, (2,), np.float64), log_std) is not None)


def test_probes_of_hidden_units_are_refused_before_a_run_where_there_are_none() -> None:
    config = {
        "name": "probed",
        "stream": {"type": "environments", "env": "Pendulum-v1"},
        "learner": {"type": "sac", "network": {"type": "linear"}, "capacity": 100},
        "budget": {"env_steps": 200},
        "evaluation": {"probes": [{"type": "dead_units"}]},
    }
    with pytest.raises(UnsupportedError, match="has no hidden units; remove the probes"):
        make_trainer(experiment_from(config), 0)
