"""Streams whose tasks have different spaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlcl.data.environments.padding import Padding
from rlcl.errors import DataError, EnvironmentApiError, UnsupportedError
from rlcl.evaluation.plan import Plan
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.learners.sb3.learner import StableBaselines3
from rlcl.seeding import Seeds
from rlcl.streams.environments import Environments, EnvironmentTask
from rlcl.streams.stream import Stream
from rlcl.training.trainer import Trainer
from rlcl.types import Budget

MASKED = """
import gymnasium as gym
import numpy as np

class Masked(gym.Env):
    observation_space = gym.spaces.Dict({"a": gym.spaces.Discrete(3), "b": gym.spaces.Box(-1, 1, (2,), np.float32)})
    action_space = gym.spaces.Discrete(4, start=5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.last = None
        return {"a": 1, "b": np.array([0.5, -0.5], np.float32)}, {}

    def step(self, action):
        self.last = action
        return {"a": 2, "b": np.zeros(2, np.float32)}, float(action), False, False, {}

    def action_masks(self):
        return np.array([True, False, True, False])
"""


def stream(*envs: str, **settings: Any) -> Stream:
    tasks = tuple(EnvironmentTask(env=env) for env in envs)
    return Environments(env=envs[0], tasks=tasks, spaces="pad", **settings).make(Seeds(0), Budget(env_steps=8))


def test_observations_are_flat_and_padded_with_zeros() -> None:
    poles, acrobot = stream("CartPole-v1", "Acrobot-v1")
    env, plain = poles.environment.make(), gym.make("CartPole-v1")
    assert (6,) == env.observation_space.shape == acrobot.environment.make().observation_space.shape
    observation, expected = env.reset(seed=3)[0], plain.reset(seed=3)[0]
    np.testing.assert_array_equal(expected, observation[:4])
    assert [0, 0] == observation[4:].tolist()
    assert env.observation_space.contains(observation)


def test_actions_that_a_task_does_not_have_are_masked_and_refused() -> None:
    poles, acrobot = stream("CartPole-v1", "Acrobot-v1")
    env = poles.environment.make()
    assert (3, 3) == (env.action_space.n, acrobot.environment.make().action_space.n)
    _, info = env.reset(seed=0)
    assert [True, True, False] == info["action_mask"].tolist()
    assert [True, True, False] == env.step(1)[4]["action_mask"].tolist()
    assert [True, True, True] == acrobot.environment.make().reset(seed=0)[1]["action_mask"].tolist()
    with pytest.raises(
        EnvironmentApiError, match=r"CartPole-v1: action 2 was chosen, but it has 2 actions; the others"
    ):
        env.step(2)


def test_masks_starts_and_structured_observations_of_a_task_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("masked.py").write_text(MASKED)
    poles, masked = stream("CartPole-v1", "masked.py:Masked")
    env = masked.environment.make()
    observation, info = env.reset(seed=0)
    assert [0, 1, 0, 0.5, -0.5] == observation.tolist()  # one-hot, then the box
    assert [True, False, True, False] == info["action_mask"].tolist()
    assert 7.0 == env.step(2)[1]  # 2 is the third action, from 5
    assert [True, True, False, False] == poles.environment.make().reset(seed=0)[1]["action_mask"].tolist()


def test_equal_actions_have_no_masks() -> None:
    first, second = stream("CartPole-v1", "rlcl_envs/CartPole-v1")
    assert Padding(4, None) == first.environment.padding == second.environment.padding  # type: ignore[attr-defined]
    assert "action_mask" not in first.environment.make().reset(seed=0)[1]


def test_action_spaces_without_a_union_are_named() -> None:
    with pytest.raises(
        DataError, match=r"stream.tasks\[1\] \(Pendulum-v1\): its action space Box.* differs .*, Discrete"
    ):
        stream("CartPole-v1", "Pendulum-v1")


def test_without_padding_both_spaces_are_named_and_the_remedy() -> None:
    tasks = (EnvironmentTask(), EnvironmentTask(env="Acrobot-v1"))
    with pytest.raises(DataError, match=r"Box.* differs from the first task's, Box.*unless spaces: pad is set"):
        Environments(env="CartPole-v1", tasks=tasks).make(Seeds(0), Budget(env_steps=8))


@pytest.mark.parametrize("learner", [
    Ppo(n_steps=8, batch_size=8),
    StableBaselines3(algorithm="MaskablePPO", options={"n_steps": 8, "batch_size": 8}),
])  # fmt: skip
def test_learners_that_use_masks_learn_in_all_tasks(learner: Any) -> None:
    outcome = Trainer(learner, stream("CartPole-v1", "Acrobot-v1"), Plan(episodes=1)).fit()
    assert (2, 2) == outcome.R.shape


def test_a_learner_that_ignores_masks_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"spaces: pad masks .* learner sb3 does not use masks; use ppo"):
        Trainer(
            StableBaselines3(algorithm="PPO", options={"n_steps": 8, "batch_size": 8}),
            stream("CartPole-v1", "Acrobot-v1"),
        )
