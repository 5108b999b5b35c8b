"""Measure the wall time until PPO balances CartPole for 475 steps, compared with Stable-Baselines3.

Each side uses its best settings. Both sides try each of ``SETTINGS`` on separate seeds. The setting with the minimum
median time is then measured on other seeds, in turn. A greedy policy is evaluated every ``EVERY`` env steps over 50
episodes, in environments that are the same for both sides. The time of evaluation is not counted.

    python benchmarks/speed/time_to_return.py [seeds]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gymnasium as gym
import numpy as np
import rlcl_envs  # noqa: F401, the import registers the environments
import torch
from attrs import frozen
from interleaved import ratio, report
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from rlcl.evaluation.plan import Plan
from rlcl.learners.optimizers import Adam
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.learners.schedules import Linear
from rlcl.seeding import Seeds
from rlcl.streams.environments import Environments
from rlcl.training.trainer import Trainer
from rlcl.types import Budget

RETURN, EVERY, STEPS, EPISODES = 475, 2048, 150_000, 50
TUNING = (1000, 1001, 1002)  # seeds for the choice of settings


@frozen
class Setting:
    """Settings for both libraries; all other settings are those of RL Zoo for CartPole."""

    num_envs: int
    n_steps: int
    epochs: int
    lr: float


SETTINGS = [
    Setting(8, 32, 20, 1e-3),  # RL Zoo's
    Setting(8, 32, 10, 2e-3),
    Setting(16, 32, 10, 2e-3),
    Setting(32, 32, 10, 2e-3),
    Setting(32, 16, 10, 2e-3),
]


class Stopped(Exception):
    """Exception that ends training when the return is reached."""


class Clock:
    """A clock that does not run during evaluations.

    Args:
        act: function that returns greedy actions (N,) for observations (N, 4).
        started: time at which the clock starts, in seconds.
    """

    def __init__(self, act: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], started: float) -> None:
        self._act, self._started, self._due = act, started, EVERY
        self._envs = gym.make_vec("rlcl_envs/CartPole-v1", EPISODES, vectorization_mode="vector_entry_point")
        self.seconds = float("nan")

    def reached(self, steps: int) -> bool:
        """Return whether training should end; evaluate the policy every ``EVERY`` env steps."""
        if steps < self._due:
            return False
        paused, self._due = time.perf_counter(), steps + EVERY
        observations, _ = self._envs.reset(seed=7)
        returns, alive = np.zeros(EPISODES), np.ones(EPISODES, bool)
        while alive.any():
            observations, rewards, terminated, truncated, _ = self._envs.step(self._act(observations))
            returns += rewards * alive
            alive &= ~(terminated | truncated)
        self._started += time.perf_counter() - paused
        if returns.mean() < RETURN and steps < STEPS:
            return False
        self.seconds = time.perf_counter() - self._started if returns.mean() >= RETURN else float("inf")
        return True


def ours(setting: Setting, seed: int) -> float:
    started = time.perf_counter()
    scenario = Environments(env="rlcl_envs/CartPole-v1", num_envs=setting.num_envs, vectorization="native")
    learner = Ppo(
        n_steps=setting.n_steps,
        batch_size=256,
        epochs=setting.epochs,
        gamma=0.98,
        gae_lambda=0.8,
        optimizer=Adam(lr=setting.lr, epsilon=1e-5),
        schedule=Linear(),
        clip_schedule=True,
    )
    stream = scenario.make(Seeds(seed), Budget(env_steps=STEPS))
    trainer = Trainer(learner, stream, Plan(every="end", before=False, episodes=1), event_interval=2048)
    clock = Clock(learner.act, started)
    events: Iterator[Any] = learner.learn(trainer.stream[0])
    for _ in events:
        if clock.reached(learner.position.step):
            break
    events.close()  # type: ignore[attr-defined]
    return clock.seconds


def theirs(setting: Setting, seed: int) -> float:
    started = time.perf_counter()
    envs = DummyVecEnv([lambda: Monitor(gym.make("CartPole-v1"))] * setting.num_envs)
    model = PPO(
        "MlpPolicy",
        envs,
        n_steps=setting.n_steps,
        batch_size=256,
        n_epochs=setting.epochs,
        gamma=0.98,
        gae_lambda=0.8,
        learning_rate=lambda left: left * setting.lr,
        clip_range=lambda left: left * 0.2,
        seed=seed,
        device="cpu",
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    clock = Clock(lambda x: model.predict(x, deterministic=True)[0], started)

    class Watch(BaseCallback):
        def _on_rollout_start(self) -> None:  # after the updates of the previous rollout
            if clock.reached(self.num_timesteps):
                raise Stopped

        def _on_step(self) -> bool:
            return True

    with suppress(Stopped):
        model.learn(STEPS, callback=Watch())
    return clock.seconds


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    torch.set_num_threads(1)
    contestants = {"theirs": theirs, "ours": ours}
    for run in contestants.values():
        run(Setting(8, 32, 1, 1e-3), 0)  # warms up
    best = {}
    for name, run in contestants.items():
        medians = [float(np.median([run(setting, seed) for seed in TUNING])) for setting in SETTINGS]
        best[name] = SETTINGS[int(np.argmin(medians))]
        print(name, [round(m, 2) for m in medians], best[name], flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for seed in range(n):
        for name in contestants if seed % 2 else reversed(contestants):
            seconds[name].append(contestants[name](best[name], seed))
    print({name: [round(s, 2) for s in found] for name, found in seconds.items()})
    row = "PPO CartPole, best settings each, wall time to 475"
    report(
        "speed_time_to_return",
        {row: ratio(seconds, "ours", "theirs")},
        {row: 2.0},
        f"python benchmarks/speed/time_to_return.py {n}",
    )


if __name__ == "__main__":
    main()
