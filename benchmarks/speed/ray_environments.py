"""Measure environments in Ray actors beside those in processes of Gymnasium, at 20 ms per step.

The actors have the least work that an engine on Ray needs: one call per environment and step, and no autoreset. rlcl's
``vectorization: async`` is Gymnasium's ``AsyncVectorEnv``. It needs ``pip install 'rlcl[ray]'``.

    python benchmarks/speed/ray_environments.py [repetitions [steps of each]]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import ray
from interleaved import measure, ratio, report

STEP_SECONDS = 0.02
NUM_ENVS = 8
SHAPES = {"vector": (8,), "image": (84, 84, 4)}  # shapes of an observation


class Slow(gym.Env[np.ndarray, np.int64]):
    """Environment whose step waits, as one that asks a simulator in another process."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = gym.spaces.Discrete(2)
        self.observation = np.zeros(shape, np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation, {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        time.sleep(STEP_SECONDS)
        return self.observation, 1.0, False, False, {}


def in_processes(shape: tuple[int, ...], steps: int) -> Callable[[], None]:
    vector = gym.vector.AsyncVectorEnv([lambda: Slow(shape)] * NUM_ENVS)
    vector.reset(seed=0)
    actions = np.zeros(NUM_ENVS, np.int64)

    def play() -> None:
        for _ in range(steps):
            vector.step(actions)

    return play


def in_actors(shape: tuple[int, ...], steps: int) -> Callable[[], None]:
    actors = [ray.remote(num_cpus=0)(Slow).remote(shape) for _ in range(NUM_ENVS)]
    ray.get([actor.reset.remote() for actor in actors])
    observations = np.zeros((NUM_ENVS, *shape), np.uint8)

    def play() -> None:
        for _ in range(steps):
            results = ray.get([actor.step.remote(np.int64(0)) for actor in actors])
            np.stack([result[0] for result in results], out=observations)

    return play


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    ray.init(include_dashboard=False, log_to_driver=False)
    rows = {}
    for name, shape in SHAPES.items():
        sides = {"ours": in_actors(shape, steps), "theirs": in_processes(shape, steps)}
        row = ratio(measure(sides, n), "ours", "theirs")
        milliseconds = {
            f"milliseconds_per_step_{who}": row[f"seconds_{who}"] / steps * 1e3 for who in ("ours", "theirs")
        }
        rows[f"{NUM_ENVS} environments, {name}: Ray actors beside processes"] = {**row, **milliseconds}
    ray.shutdown()
    targets = dict.fromkeys(rows, 1.0)
    report("speed_ray_environments", rows, targets, f"python benchmarks/speed/ray_environments.py {n} {steps}")


if __name__ == "__main__":
    main()
