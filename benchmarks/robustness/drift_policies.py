"""Measure the false alarms of the monitor for policies, and its delay in detecting a change.

Two policies are PPO on CartPole, trained so briefly that episodes last 9 steps, and so long that they last 500 steps.
Each is exported and used in one environment: one observation per request, one episode after the other. There are four
cases: no change, a gravity of 40, a pole that is four times as long, and sensors with an offset of one standard
deviation. A change starts at a random request shortly after the ten thousandth, or, for the long episodes, shortly
after the twenty thousandth. The same requests are monitored with and without the names of their episodes.

    python benchmarks/robustness/drift_policies.py [seeds]
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import gymnasium as gym
import numpy as np
import rlcl_envs  # noqa: F401
from rich.console import Console

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.exporting.export import export
from rlcl.deploy.log import AnswerPage
from rlcl.deploy.model import Model
from rlcl.deploy.monitoring.monitor import Monitor, MonitorSettings
from rlcl.deploy.monitoring.reference import ReferenceSample
from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.tracking.runs import find_runs

RESULTS = Path(__file__).parents[1] / "results" / "drift_policies.json"
CASES = {"episodes of 9": (256, 20_000), "episodes of 500": (30_000, 40_000)}  # env steps of training, requests
CHANGES: dict[str, dict[str, float]] = {
    "none": {},
    "gravity 40": {"gravity": 40.0},
    "length 2": {"length": 2.0},
    "sensors": {},
}
PAGE = 100
Array = np.ndarray[Any, Any]


def exported(folder: Path, name: str, env_steps: int) -> Bundle:
    config = {
        "name": name,
        "seeds": [0],
        "stream": {"type": "environments", "env": "rlcl_envs/CartPole-v1", "num_envs": 8},
        "encoder": {"type": "running_norm"},
        "learner": {"type": "ppo", "n_steps": 32 if env_steps < 1000 else 128},
        "budget": {"env_steps": env_steps},
        "evaluation": {"episodes": 5},
    }
    run_experiment(experiment_from(config), folder / "runs", console=Console(quiet=True))
    (run,) = find_runs(folder / "runs" / name)
    export(run, folder / name, update=False)
    return Bundle.open(folder / name)


def played(model: Model, seed: int, requests: int, change: str, shift: Array) -> tuple[Array, Array, list[str], int]:
    """Return observations, actions, names of episodes, and the number of requests before the change."""
    env, actions, begins, names = gym.make("rlcl_envs/CartPole-v1"), [], requests, []
    seen = np.empty((requests, 4), np.float32)
    offset, episode = np.zeros(4, np.float32), 0
    wanted = requests // 2 + int(np.random.default_rng(seed).integers(500))
    observation, _ = env.reset(seed=1_000_000 + seed)  # a seed that the reference does not use
    for row in range(requests):
        seen[row] = observation + offset
        (action,) = model.run({"input": seen[row : row + 1]})["action"]
        actions.append(action)
        names.append(f"episode {episode}")
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            episode += 1
            if change != "none" and begins == requests and row >= wanted:
                begins = row + 1
                env = gym.make("rlcl_envs/CartPole-v1")
                env.unwrapped.set_physics(**CHANGES[change])  # type: ignore[attr-defined]
                offset = shift if change == "sensors" else offset
                env.reset(seed=2_000_000 + seed)
            observation, _ = env.reset()
    return seen, np.array(actions), names, begins


def pages(model: Model, seen: Array, actions: Array, names: list[str]) -> Iterator[AnswerPage]:
    for start in range(0, len(seen), PAGE):
        rows = slice(start, start + PAGE)
        numbers = np.arange(start + 1, start + 1 + len(seen[rows]))
        yield AnswerPage(
            numbers=numbers,
            times=numbers.astype(np.float64),
            bundle=model.bundle.digest,
            signature=model.signature,
            task_ids=[None] * len(numbers),
            inputs={"input": seen[rows]},
            outputs={"action": actions[rows]},
            feedback=[None] * len(numbers),
            episodes=names[rows] or [],
        )


def alarms(reference: ReferenceSample, asked: list[AnswerPage], named: bool) -> list[tuple[str, int]]:
    """Return the kind of every alarm, and the request at which it was raised."""
    monitor, found = Monitor(lambda _: reference, MonitorSettings()), []
    for page in asked:
        told = page if named else attrs.evolve(page, episodes=[None] * len(page.episodes))
        lines = monitor.observe(told)
        found += [(line["kind"], int(page.numbers[-1])) for line in lines if line["line"] == "alarm"]
    return found


def measured(case: str, bundle: Bundle, requests: int, change: str, seeds: int) -> list[dict[str, Any]]:
    """Return two rows: with names of episodes, and without."""
    model, reference = Model(bundle), ReferenceSample.read(bundle)
    shift = reference.inputs["input"].std(0)
    about = {"case": case, "change": change, "seeds": seeds, "requests": requests}
    rows: list[dict[str, Any]] = [
        {**about, "named": named, "false_alarms": 0, "delays": [], "first": []} for named in (True, False)
    ]
    for seed in range(seeds):
        seen, actions, names, begins = played(model, seed, requests, change, shift)
        asked = list(pages(model, seen, actions, names))
        for row in rows:
            found = alarms(reference, asked, row["named"])
            row["false_alarms"] += sum(at <= begins for _, at in found)
            soonest = min((at for _, at in found if at > begins), default=None)
            row["delays"].append(None if soonest is None else soonest - begins)
            row["first"].append([kind for kind, at in found if at == soonest])
    return [{**row, **_delays(row["delays"])} for row in rows]


def _delays(delays: list[int | None]) -> dict[str, Any]:
    known = [delay for delay in delays if delay is not None]
    told = {"delay_median": float(np.median(known)), "delay_max": max(known)} if known else {}
    return {"found": len(known), **told}


def main(seeds: int) -> None:
    """Print the rows, and write them to ``RESULTS``."""
    rows: list[dict[str, Any]] = []
    settings = {"window": MonitorSettings().window, "alpha": MonitorSettings().alpha}
    command = f"python benchmarks/robustness/drift_policies.py {seeds}"
    with tempfile.TemporaryDirectory() as folder:
        for case, (env_steps, requests) in CASES.items():
            bundle = exported(Path(folder), case.replace(" ", "-"), env_steps)
            for change in CHANGES:
                rows += measured(case, bundle, requests, change, seeds)
                print(*rows[-2:], sep="\n", flush=True)
                kept = {"command": command, "settings": settings, "rows": rows}
                RESULTS.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
