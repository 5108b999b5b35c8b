"""Allowed actions, and spaces of whole numbers that start at another number than 0, under Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from harness import environment_stream, learn_all, prepared, sb3
from rich.console import Console

from rlcl.data.sources import Environment
from rlcl.deploy.bundle import Bundle
from rlcl.deploy.exporting.export import export
from rlcl.deploy.model import PolicyModel
from rlcl.errors import UnsupportedError
from rlcl.evaluation.episode_video import record_episode
from rlcl.evaluation.episodes import run_episodes
from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.launch.trained_policy import load_policy
from rlcl.tracking.runs import find_runs

CHOICES = 4
STEPS = 15


class OneAllowed(gym.Env[Any, Any]):
    """One of four actions is allowed at each of 15 steps, at random, and unobserved; any other pays -1."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space: gym.Space[Any] = gym.spaces.Discrete(CHOICES)

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, told: str = "method", several: bool = False, render_mode: str | None = None) -> None:
        self.told, self.several, self.render_mode = told, several, render_mode
        if several:
            self.action_space = gym.spaces.MultiDiscrete([CHOICES, CHOICES], start=[3, 5])
        if told == "method":
            self.action_masks = self._masks

    def _masks(self) -> Any:
        masks = np.zeros((1 + self.several, CHOICES), bool)
        masks[:, self.allowed] = True
        return masks.ravel()

    def _info(self) -> dict[str, Any]:
        self.allowed = int(self.np_random.integers(CHOICES))
        return {"action_mask": self._masks().astype(np.int8)} if self.told == "info" else {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        right = np.all(np.asarray(action) == self.allowed + (np.array([3, 5]) if self.several else 0))
        self.count += 1
        return np.zeros(1, np.float32), -float(not right), False, self.count == STEPS, self._info()

    def render(self) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


class ManyAllowed(VectorEnv[Any, Any, Any]):
    """The same side by side."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int, **kwargs: Any) -> None:
        self.num_envs = num_envs
        self.single_observation_space = OneAllowed.observation_space
        self.single_action_space = OneAllowed.action_space
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, num_envs)
        self.rng, self.count = np.random.default_rng(0), 0

    def action_masks(self) -> Any:
        return np.eye(CHOICES, dtype=bool)[self.allowed]

    def _observed(self) -> Any:
        self.allowed = self.rng.integers(CHOICES, size=self.num_envs)
        return np.zeros((self.num_envs, 1), np.float32)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self._observed(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.count += 1
        rewards, ends = -(actions != self.allowed).astype(float), np.full(self.num_envs, self.count % STEPS == 0)
        info = {"final_obs": np.zeros((self.num_envs, 1), np.float32), "_final_obs": ends}
        return self._observed(), rewards, np.zeros(self.num_envs, bool), ends, info


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    gym.register("rlcl_tests/OneAllowed-v0", entry_point=OneAllowed, vector_entry_point=ManyAllowed)
    yield
    gym.registry.pop("rlcl_tests/OneAllowed-v0")


def one_allowed(vectorization: str = "sync", **kwargs: Any) -> Environment:
    return Environment(
        "rlcl_tests/OneAllowed-v0",
        kwargs=kwargs,
        num_envs=2,
        vectorization=vectorization,  # type: ignore[arg-type]
        name="one allowed",
    )


def learned(source: Environment, algorithm: str = "MaskablePPO", budget: int = 64, **options: Any) -> Any:
    stream = environment_stream(source, budget=budget)
    small = {} if algorithm == "DQN" else {"n_steps": 16, "batch_size": 16}
    learner = prepared(sb3(algorithm, **{**small, **options}), stream)
    learn_all(learner, stream)
    return learner


class TestMasks:
    @pytest.mark.parametrize("told", ["method", "info"])
    @pytest.mark.parametrize("vectorization", ["sync", "async"])
    @pytest.mark.parametrize("several", [False, True])
    def test_neither_training_nor_evaluation_takes_a_forbidden_action(
        self, told: str, vectorization: str, several: bool
    ) -> None:
        source = one_allowed(vectorization, told=told, several=several)
        learner = learned(source)
        assert 1 + several == learner.model.rollout_buffer.action_masks.sum(-1).max()
        assert not learner.model.rollout_buffer.rewards.any()
        assert [0.0] * 3 == run_episodes(learner, source, 3, 100, None).returns.tolist()

    def test_native_environments_are_asked_as_a_whole(self) -> None:
        learner = learned(one_allowed("native"))
        assert not learner.model.rollout_buffer.rewards.any()
        assert [0.0] == run_episodes(learner, one_allowed("native"), 1, 100, None).returns.tolist()

    def test_a_film_keeps_to_them(self) -> None:
        shot = record_episode(learned(one_allowed()), one_allowed(), None, frames=STEPS)
        assert shot is not None
        assert 0.0 == shot.returns[-1]

    def test_without_masks_the_algorithm_is_refused_by_name_with_the_remedy(self) -> None:
        with pytest.raises(UnsupportedError, match=r"MaskablePPO needs action masks, .* action_masks.* or use PPO"):
            learned(one_allowed(told="not at all"))

    def test_an_algorithm_without_masks_is_evaluated_as_it_learns(self) -> None:
        learner = learned(one_allowed(), "PPO")
        assert not learner.takes_action_masks
        assert learner.model.rollout_buffer.rewards.any()


class Wanted(gym.Env[Any, Any]):
    """Of actions 5, 6, 7 the last is paid for 20 steps; observations start at other numbers than 0 too."""

    def __init__(self, actions: str = "one", observations: str = "one") -> None:
        one, two = gym.spaces.Discrete(3, start=5), gym.spaces.MultiDiscrete([3, 2], start=[5, -4])
        self.action_space = one if actions == "one" else two
        self.wanted = 7 if actions == "one" else [7, -3]
        things = {"one": one, "two": two, "parts": gym.spaces.Dict(a=one, b=two, c=gym.spaces.Box(-9, 9, (2,)))}
        if observations == "tuple":
            self.observation_space: gym.Space[Any] = gym.spaces.Tuple((one, two))
        else:
            self.observation_space = things[observations]

    def _observed(self) -> Any:
        found = self.observation_space.sample()
        self.seen = found
        return found

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:  # else it would be seeded by chance
            self.observation_space.seed(seed)
        self.count = 0
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(np.asarray(action, np.int64)[()]), action
        self.count += 1
        return self._observed(), float(np.all(action == np.array(self.wanted))), False, self.count == 20, {}


class TestStarts:
    @pytest.mark.parametrize(
        ("algorithm", "actions", "observations", "vectorization"),
        [
            ("PPO", "one", "parts", "sync"),
            ("PPO", "two", "one", "async"),
            ("PPO", "two", "parts", "async"),
            ("DQN", "one", "two", "sync"),
            ("DQN", "one", "one", "async"),
        ],
    )
    def test_the_paid_action_is_found(
        self, algorithm: str, actions: str, observations: str, vectorization: str
    ) -> None:
        kwargs = {"actions": actions, "observations": observations}
        source = Environment(Wanted, kwargs=kwargs, num_envs=2, vectorization=vectorization, name="wanted")  # type: ignore[arg-type]
        options = {"learning_rate": 0.03, "gamma": 0.0}
        learner = learned(source, algorithm, 600, **options)
        assert [20.0] * 2 == run_episodes(learner, source, 2, 100, None).returns.tolist()

    def test_observations_are_shifted_at_their_ends_too(self) -> None:
        source = Environment(Wanted, kwargs={"observations": "parts"}, name="wanted")
        learner = learned(source, "DQN", 60)
        buffer = learner.model.replay_buffer
        for seen in (buffer.observations, buffer.next_observations):
            assert {0, 1, 2} == set(seen["a"][:60].ravel().tolist())
            assert [2, 1] == seen["b"][:60].max((0, 1)).tolist()
            assert 0 == seen["b"][:60].min()
        assert buffer.actions[:60].max() <= 2

    @pytest.mark.parametrize(
        ("learner", "observations"),
        [("PPO", "parts"), ("DQN", "one"), ("PPO", "two"), ("DQN", "tuple"), ("ppo", "tuple"), ("dqn", "parts")],
    )
    def test_a_bundle_answers_as_the_learner_that_is_watched(
        self, observations: str, learner: str, tmp_path: Path
    ) -> None:
        file = Path(__file__).as_posix()
        flat = observations == "tuple" or learner.islower()
        small = {"n_steps": 64, "batch_size": 32} if learner.lower() == "ppo" else {"learning_starts": 32}
        named = (
            {"type": learner, "optimizer": {"type": "adam", "lr": 0.03}, "gamma": 0.0, **small}
            if learner.islower()
            else {"type": "sb3", "algorithm": learner, "options": {**small, "learning_rate": 0.03, "gamma": 0.0}}
        )
        config = {
            "name": "wanted",
            "stream": {"type": "environments", "env": f"{file}:Wanted", "kwargs": {"observations": observations}},
            **({"encoder": {"type": "flatten"}} if flat else {}),
            "learner": named,
            "budget": {"env_steps": 640},
            "evaluation": {"episodes": 2},
        }
        run_experiment(experiment_from(config), tmp_path, Console(quiet=True))
        run = find_runs(tmp_path)[0]
        assert 20.0 == run.summary["R"][-1][0]
        policy = load_policy(run)
        source = policy.source(policy.experience(None))
        assert [20.0] == run_episodes(policy.trainer.learner, source, 1, 100, None).returns.tolist()
        export(run, tmp_path / "bundle", update=False)
        model = PolicyModel(Bundle.open(tmp_path / "bundle"))
        space = Wanted(observations=observations).observation_space
        space.seed(3)
        for seen in (space.sample() for _ in range(20)):
            assert 7 == model.predict(gym.spaces.flatten(space, seen) if observations == "tuple" else seen)[0]
