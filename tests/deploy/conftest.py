"""Runs of a second or less, exported when a test first asks for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from rlcl.deploy.exporting.export import export
from rlcl.experiment import load_experiment
from rlcl.launch.seeds import run_experiment
from rlcl.tracking.runs import StoredRun, find_runs

PUZZLE = '''
import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Puzzle(gym.Env):
    """Observations of four parts, actions of two choices."""

    observation_space = spaces.Dict(
        {
            "place": spaces.Discrete(4, start=1),
            "speed": spaces.Box(-1, 1, (3,), np.float32),
            "lamps": spaces.MultiBinary(2),
            "dials": spaces.MultiDiscrete([2, 3], start=[1, 0]),
        }
    )
    action_space = spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:  # else it would be seeded by chance
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), float(np.sum(action)), False, self.steps >= 10, {}


class Camera(Puzzle):
    """Bytes, channels last, beside numbers."""

    observation_space = spaces.Dict(
        {"picture": spaces.Box(0, 255, (36, 36, 3), np.uint8), "speed": spaces.Box(-1, 1, (3,), np.float32)}
    )


class Picture(Camera):
    observation_space = spaces.Box(0, 255, (40, 40, 3), np.uint8)
    action_space = spaces.Discrete(3)
'''
DIGITS = "data: {type: digits}"
CARTPOLE = "stream: {type: environments, env: CartPole-v1, num_envs: 4}\nevaluation: {episodes: 1}"
POLES = (
    "stream: {type: environments, env: rlcl_envs/CartPole-v1, tasks: [{}, {attributes: {gravity: 40}}], num_envs: 4}\n"
    "evaluation: {episodes: 1}"
)
PENDULUM = "stream: {type: environments, env: rlcl_envs/Pendulum-v1, num_envs: 2}\nevaluation: {episodes: 1}"
PUZZLES = "stream: {{type: environments, env: {folder}/puzzle.py:{env}}}\nevaluation: {{episodes: 1}}"
MLP = "network: {type: mlp, hidden: [16]}"
# Ages 0 to 99, of which every fourth is missing; the city is missing in every seventh row, and pay never.
CITIES = ["Bern", "Oslo", "Rome"]
PEOPLE = "age,city,pay,bought\n" + "".join(
    f"{i if i % 4 else ''},{CITIES[i % 3] if i % 7 else '?'},{i * 7 % 100 * 10},{'yes' if i % 3 else 'no'}\n"
    for i in range(100)
)
TABLE = "stream: {{type: single, data: {{type: table, path: {folder}/people.csv, target: bought}}}}"
RUNS = {
    "digits": f"stream: {{type: class_incremental, {DIGITS}, experiences: 5}}\nencoder: {{type: standardize}}\n"
    f"learner: {{type: classifier, {MLP}, methods: [{{type: rehearsal, capacity: 50, batch_size: 8}}]}}\n"
    "objective: {statement: Keep ten digits., success: [accuracy.average >= 0.1], obstacles: [no old data]}\n"
    "budget: {updates: 10}\nseeds: [0, 1]",
    "permuted": f"stream: {{type: permuted, {DIGITS}, experiences: 3, visibility: {{task_ids: visible}}}}\n"
    "encoder: {type: standardize}\nlearner: {type: classifier, network: {type: multihead, body: {type: mlp, hidden: "
    "[16]}, features: 16}}\nbudget: {updates: 5}",
    "columns": f"stream: {{type: permuted, {DIGITS}, experiences: 3, visibility: {{task_ids: visible}}}}\n"
    "learner: {type: classifier, network: {type: progressive, hidden: [8, 8]}}\nbudget: {updates: 3}",
    "packed": f"stream: {{type: task_incremental, {DIGITS}, experiences: 5}}\nencoder: {{type: scale}}\n"
    f"learner: {{type: classifier, {MLP}, methods: [{{type: packnet}}, {{type: xdg}}]}}\nbudget: {{updates: 6}}",
    "averaged": f"stream: {{type: class_incremental, {DIGITS}, experiences: 2}}\nencoder: {{type: scale}}\n"
    "learner: {type: classifier, network: {type: cnn}, ema: 0.9}\nbudget: {updates: 4}",
    "memory": f"stream: {{type: class_incremental, {DIGITS}, experiences: 2}}\nencoder: {{type: scale}}\n"
    f"learner: {{type: gdumb, {MLP}, capacity: 40, epochs: 1}}\nbudget: {{epochs: 1}}",
    "regressor": "stream: {type: single, data: {type: diabetes}}\nencoder: {type: standardize}\n"
    f"learner: {{type: regressor, {MLP}, optimizer: {{type: adam}}}}\nbudget: {{updates: 10}}",
    "autoencoder": f"stream: {{type: class_incremental, {DIGITS}, experiences: 2}}\nencoder: {{type: scale}}\n"
    f"learner: {{type: autoencoder, {MLP}, code: 4}}\nbudget: {{updates: 5}}",
    "vae": f"stream: {{type: single, {DIGITS}}}\nencoder: {{type: scale}}\nlearner: {{type: vae, {MLP}, code: 4}}\n"
    "budget: {updates: 5}",
    "people": f"{TABLE}\nencoder: {{{{type: columns, numeric: [impute, standardize], categorical: one_hot}}}}\n"
    "learner: {{type: classifier, network: {{type: mlp, hidden: [16]}}, optimizer: {{type: adam, lr: 0.01}}}}\n"
    "budget: {{updates: 20}}",
    "people_unfilled": f"{TABLE.replace('target: bought', 'target: bought, drop: [age]')}\n"
    "encoder: {{type: columns, numeric: standardize, categorical: one_hot}}\n"
    "learner: {{type: classifier, network: {{type: mlp, hidden: [16]}}}}\nbudget: {{updates: 2}}",
    "ppo": f"{POLES}\nencoder: {{type: running_norm}}\nlearner: {{type: ppo, n_steps: 16, epochs: 1}}\n"
    "budget: {env_steps: 128}",
    "continuous": f"{PENDULUM}\nlearner: {{type: ppo, n_steps: 16, epochs: 1, shared: true}}\n"
    "budget: {env_steps: 64}",
    "recurrent": f"{CARTPOLE}\nlearner: {{type: ppo, n_steps: 16, epochs: 1, recurrent: {{size: 8}}}}\n"
    "budget: {env_steps: 128}",
    "dqn": f"{CARTPOLE}\nencoder: [{{type: frame_stack, frames: 3}}, {{type: standardize}}]\n"
    "learner: {type: dqn, learning_starts: 20, dueling: true}\nbudget: {env_steps: 100}",
    "sac": f"{PENDULUM}\nlearner: {{type: sac, learning_starts: 20, {MLP}}}\nbudget: {{env_steps: 40}}",
    "td3": f"{PENDULUM}\nlearner: {{type: td3, learning_starts: 20, {MLP}}}\nbudget: {{env_steps: 40}}",
    "puzzle": f"{PUZZLES.replace('{env}', 'Puzzle')}\nencoder: [{{{{type: flatten}}}}, {{{{type: running_norm}}}}]\n"
    "learner: {{type: ppo, n_steps: 16, epochs: 1}}\nbudget: {{env_steps: 32}}",
    "sb3_ppo": f"{CARTPOLE}\nencoder: {{type: running_norm}}\n"
    "learner: {type: sb3, algorithm: PPO, options: {n_steps: 16, n_epochs: 1}}\nbudget: {env_steps: 64}",
    "sb3_dqn": f"{CARTPOLE}\nlearner: {{type: sb3, algorithm: DQN, options: {{learning_starts: 20}}}}\n"
    "budget: {env_steps: 40}",
    "sb3_sac": f"{PENDULUM}\nlearner: {{type: sb3, algorithm: SAC, options: {{learning_starts: 20, policy_kwargs: "
    "{net_arch: [16]}}}\nbudget: {env_steps: 24}",
    "sb3_a2c": f"{PENDULUM}\nlearner: {{type: sb3, algorithm: A2C, options: {{n_steps: 8}}}}\n"
    "budget: {env_steps: 32}",
    "sb3_camera": f"{PUZZLES.replace('{env}', 'Camera')}\n"
    "learner: {{type: sb3, algorithm: PPO, options: {{n_steps: 16, batch_size: 16, n_epochs: 1}}}}\n"
    "budget: {{env_steps: 16}}",
    "sb3_picture": f"{PUZZLES.replace('{env}', 'Picture')}\n"
    "encoder: [{{type: grey_scale, resize: 36}}, {{type: frame_stack, frames: 2}}]\n"
    "learner: {{type: sb3, algorithm: DQN, options: {{learning_starts: 5, buffer_size: 50}}}}\n"
    "budget: {{env_steps: 16}}",
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], StoredRun]:
    """A finished run by the name of its experiment."""
    root = tmp_path_factory.mktemp("finished")
    (root / "puzzle.py").write_text(PUZZLE)
    (root / "people.csv").write_text(PEOPLE)
    runs: dict[str, StoredRun] = {}

    def run(name: str) -> StoredRun:
        if name not in runs:
            text = RUNS[name]
            if "{folder}" in text:
                text = text.format(folder=root)
            (root / f"{name}.yaml").write_text(f"name: {name}\n{text}\n")
            run_experiment(load_experiment(root / f"{name}.yaml"), root / "runs", Console(quiet=True))
            runs[name] = find_runs(root / "runs" / name)[0]
        return runs[name]

    return run


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, finished: Callable[[str], StoredRun]) -> Callable[[str], Path]:
    """The bundle of a run by name, which no test changes."""
    root = tmp_path_factory.mktemp("bundles")

    def made(name: str) -> Path:
        if not (root / name).is_dir():
            export(finished(name), root / name)
        return root / name

    return made
