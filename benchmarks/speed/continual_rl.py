"""Measure the cost of tasks, of drift and of the evaluation of all tasks in continual reinforcement learning.

- Five tasks, compared with the same env steps in one experience. The evaluation is not part of the time.
- Drifting physics of a native environment, compared with constant physics: training, and the env steps alone.
- The evaluation of five tasks at a boundary, compared with stepping vector environments through the same episodes:
  with the actions given in advance (pure stepping), and with a loop that acts with the same policy.

The compared time is the processor time in one process on one core.

    python benchmarks/speed/continual_rl.py [repetitions [part of a name ...]]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from interleaved import measure, ratio, report

from rlcl.evaluation.episodes import run_episodes
from rlcl.evaluation.measures import environment_of
from rlcl.experiment import experiment_from
from rlcl.launch.build import make_trainer
from rlcl.training.trainer import Trainer

TASKS = 5
CART = {"type": "environments", "env": "CartPole-v1", "num_envs": 8}
NATIVE = {**CART, "env": "rlcl_envs/CartPole-v1", "vectorization": "native"}
PENDULUM = {"type": "environments", "env": "Pendulum-v1", "num_envs": 1}
# Learner, environment, and the env steps of all tasks together.
CASES: Mapping[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "ppo, native CartPole": ({"type": "ppo", "n_steps": 128}, NATIVE, 20_480),
    "ppo, CartPole": ({"type": "ppo", "n_steps": 128}, CART, 10_240),
    "dqn, CartPole": ({"type": "dqn", "learning_starts": 500}, CART, 5_000),
    "sac, Pendulum": ({"type": "sac", "learning_starts": 100}, PENDULUM, 500),
}
GRAVITY = {"type": "sinusoid", "mean": 9.8, "amplitude": 4.0, "period": 20_000}
DRIFT = [{"parameter": "attributes.gravity", "function": GRAVITY}]


def trained(learner: Mapping[str, Any], stream: Mapping[str, Any], env_steps: int) -> Callable[[], Trainer]:
    """Return the function that trains on a stream from the start, without evaluation."""
    config = {"name": "case", "learner": learner, "stream": stream, "budget": {"env_steps": env_steps}}

    def train() -> Trainer:
        trainer = make_trainer(experiment_from(config), 0)
        for experience in trainer.stream:
            for _ in trainer.learner.learn(experience):
                pass
        return trainer

    return train


def tasks_cost(learner: Mapping[str, Any], stream: Mapping[str, Any], env_steps: int, n: int) -> dict[str, float]:
    """Compute the time of five tasks relative to one experience of the same env steps."""
    tasks = {**stream, "tasks": [{}] * TASKS}
    times = measure(
        {"one": trained(learner, stream, env_steps), "five": trained(learner, tasks, env_steps // TASKS)},
        n,
        time.process_time,
    )
    return ratio(times, "one", "five")


def drift_cost(learner: Mapping[str, Any], stream: Mapping[str, Any], env_steps: int, n: int) -> dict[str, float]:
    """Compute the time of training with drifting gravity relative to training with constant gravity."""
    drifting = {**stream, "drift": DRIFT}
    times = measure(
        {"constant": trained(learner, stream, env_steps), "drifting": trained(learner, drifting, env_steps)},
        n,
        time.process_time,
    )
    return ratio(times, "constant", "drifting")


def stepping_cost(stream: Mapping[str, Any], num_envs: int, steps: int, n: int) -> dict[str, float]:
    """Compute the time of env steps with drifting gravity relative to constant gravity."""

    def stepped(stream: Mapping[str, Any]) -> Callable[[], None]:
        learner = {"type": "ppo"}
        config = {"name": "case", "learner": learner, "stream": stream, "budget": {"env_steps": steps}}
        source = make_trainer(experiment_from(config), 0).stream[0].environment
        vector = source.make_vector()
        actions = np.random.default_rng(0).integers(0, 2, (steps // num_envs, num_envs))
        vector.reset(seed=0)

        def step() -> None:
            for action in actions:
                vector.step(action)

        return step

    stream = {**stream, "num_envs": num_envs}
    times = measure(
        {"constant": stepped(stream), "drifting": stepped({**stream, "drift": DRIFT})}, n, time.process_time
    )
    return ratio(times, "constant", "drifting")


def evaluation_cost(
    learner: Mapping[str, Any], stream: Mapping[str, Any], env_steps: int, n: int, other: str
) -> dict[str, float]:
    """Compute the time of an evaluation of five tasks relative to the same episodes.

    Args:
        learner, stream, env_steps, n: see :func:`tasks_cost`.
        other: ``stepping``, with actions given in advance in existing environments, or ``acting`` with the policy.
    """
    trainer = trained(learner, {**stream, "tasks": [{}] * TASKS}, env_steps // TASKS)()
    plan, sources, recorded = trainer.evaluation, [], []
    for experience in trainer.stream.evaluated:
        recorder, source = Recorder(trainer.learner), environment_of(experience, plan)
        run_episodes(recorder, source, plan.episodes, plan.episode_steps, None)
        sources.append(source)
        recorded.append((source.make_vector(plan.episodes), source.seed, recorder.actions))

    def stepping() -> None:
        for vector, seed, actions in recorded:
            vector.reset(seed=seed)
            for action in actions:
                vector.step(action)

    def acting() -> None:
        for source, (_, _, actions) in zip(sources, recorded, strict=True):
            vector = source.make_vector(plan.episodes)
            observations, _ = vector.reset(seed=source.seed)
            for _ in actions:
                observations, *_ = vector.step(trainer.learner.predict(observations)[0])
            vector.close()

    contestants = {
        other: {"stepping": stepping, "acting": acting}[other],
        "evaluation": lambda: [*trainer._evaluate(0)],
    }
    return ratio(measure(contestants, n, time.process_time), other, "evaluation")


class Recorder:
    """A predictor that keeps the actions of another one.

    Args:
        predictor: the other one.
    """

    measures = ("return",)

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor
        self.actions: list[Any] = []

    def predict(self, *args: Any) -> tuple[Any, Any]:
        actions, state = self._predictor.predict(*args)
        self.actions.append(np.asarray(actions))
        return actions, state


def measurements(n: int) -> Iterator[tuple[str, float | None, Callable[[], dict[str, float]]]]:
    """Yield the name, the target and the function of each measurement."""
    for name, case in CASES.items():
        yield f"five tasks: {name}", 1.05, partial(tasks_cost, *case, n)
    yield "drift: ppo, native CartPole", 1.05, partial(drift_cost, *CASES["ppo, native CartPole"], n)
    for num_envs in (8, 64):
        yield (
            f"drift: {num_envs} native CartPoles, steps alone",
            None,
            partial(stepping_cost, NATIVE, num_envs, 40_000, n),
        )
    for name, case in CASES.items():
        yield f"evaluation: {name}", 1.2, partial(evaluation_cost, *case, n, "stepping")
        yield f"evaluation, beside acting: {name}", None, partial(evaluation_cost, *case, n, "acting")


def main() -> None:
    n, chosen = int(sys.argv[1]) if len(sys.argv) > 1 else 15, sys.argv[2:]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows, targets = {}, {}
    for name, target, measured in measurements(n):
        if not chosen or any(part in name for part in chosen):
            rows[name] = row = measured()
            targets[name] = target
            print(f"{name:44} {row['median']:.3f} ({row['low']:.3f} to {row['high']:.3f})", flush=True)
    report(
        "speed_continual_rl", rows, targets, " ".join(["python benchmarks/speed/continual_rl.py", str(n)]), "at most"
    )


if __name__ == "__main__":
    main()
