"""Measure the speed of the vector environments of rlcl_envs, compared with Gymnasium's environments.

Gymnasium's environments are single ones in a ``SyncVectorEnv`` ("one by one"), and the native vector CartPole. Each
side receives the same actions, which are sampled in advance, and restarts its episodes itself. The results of the
``SyncVectorEnv`` equal those of rlcl_envs, bit for bit. Gymnasium's vector CartPole uses a separate step for each
restart.

    python benchmarks/speed/environments.py [repetitions [env steps of each]]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import rlcl_envs  # noqa: F401  the import registers the environments
from gymnasium.vector import AutoresetMode
from interleaved import measure, ratio, report

IDS = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")
AT_LEAST = {1: 0.3, 8: 2.0, 64: 10.0, 1024: 40.0}  # number of environments: required speed relative to one by one


def playing(vector: Any, steps: int) -> Callable[[], None]:
    """Reset a vector environment, and return a function that performs some steps with fixed random actions."""
    rng, space = np.random.default_rng(0), vector.single_action_space
    if isinstance(space, gym.spaces.Discrete):
        actions = rng.integers(0, int(space.n), (steps, vector.num_envs))
    else:
        actions = rng.uniform(space.low, space.high, (steps, vector.num_envs, 1)).astype(np.float32)
    vector.reset(seed=0)

    def play() -> None:
        for action in actions:
            vector.step(action)

    return play


def compare(theirs: Any, ours: Any, env_steps: int, n: int) -> dict[str, float]:
    """Compute our speed relative to theirs, and the env steps per second of both."""
    count = ours.num_envs
    steps = max(env_steps // count, 16)
    row = ratio(measure({"ours": playing(ours, steps), "theirs": playing(theirs, steps)}, n), "ours", "theirs")
    rates = {f"env_steps_per_second_{who}": steps * count / row[f"seconds_{who}"] for who in ("ours", "theirs")}
    return {**row, **rates}


def native(name: str, count: int) -> Any:
    return gym.make_vec(name, num_envs=count, vectorization_mode="vector_entry_point")


def one_by_one(name: str, count: int) -> Any:
    modes = {"autoreset_mode": AutoresetMode.SAME_STEP}
    return gym.make_vec(name, num_envs=count, vectorization_mode="sync", vector_kwargs=modes)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    env_steps = int(sys.argv[2]) if len(sys.argv) > 2 else 8192
    rows, targets = {}, {}
    for count, at_least in AT_LEAST.items():
        for name in IDS:
            work = f"{count} {name}, beside one by one"
            rows[work] = compare(one_by_one(name, count), native(f"rlcl_envs/{name}", count), env_steps, n)
            targets[work] = at_least
        work = f"{count} CartPole-v1, beside their vector"
        rows[work] = compare(native("CartPole-v1", count), native("rlcl_envs/CartPole-v1", count), env_steps, n)
        targets[work] = 1.0
    report("speed_environments", rows, targets, f"python benchmarks/speed/environments.py {n} {env_steps}")


if __name__ == "__main__":
    main()
