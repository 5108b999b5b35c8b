"""Kill runs of continual reinforcement learning at random moments: resumed runs must end with the same bits.

The streams repeat tasks, pad spaces (which masks actions) and drift; one environment provides masks itself. Each run is
killed several times (SIGKILL) and resumed by the same command. Records, events without rates and the tensors of the
last checkpoint are compared with those of a run that was not killed.

    python benchmarks/robustness/kill_continual_rl.py [kills of each stream]
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "robustness_kill_continual_rl.json"
MASKED = '''
import gymnasium as gym
import numpy as np


class Forbidding(gym.Env):
    """Walk of 20 steps on 12 places; the neighbours that exist are allowed, and the place is rewarded."""

    def __init__(self, drop=0.0):
        self.observation_space = gym.spaces.Box(0, 1, (12,), np.float32)
        self.action_space = gym.spaces.Discrete(3)
        self.drop = drop

    def state_dict(self):
        return {"place": self.place, "step": self.step_count, "rng": self.np_random.bit_generator.state}

    def load_state_dict(self, state):
        self.place, self.step_count = state["place"], state["step"]
        self.np_random.bit_generator.state = state["rng"]

    def _seen(self):
        return np.eye(12, dtype=np.float32)[self.place], {"action_mask": np.array([self.place > 0, 1, self.place < 11])}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.step_count = int(self.np_random.integers(12)), 0
        return self._seen()

    def step(self, action):
        assert self._seen()[1]["action_mask"][action], "a forbidden action was taken"
        self.place += int(action) - 1
        self.step_count += 1
        observation, info = self._seen()
        reward = self.place / 11 - self.drop * float(self.np_random.random())
        return observation, reward, False, self.step_count == 20, info
'''
COMMON = {"seeds": [3], "event_interval": 64, "checkpoint_minutes": 0.0001}
EVALUATION = {"every": {"env_steps": 600}, "episodes": 2}
PPO = {
    "type": "ppo",
    "network": {"type": "mlp", "hidden": [16]},
    "n_steps": 16,
    "epochs": 4,
    "schedule": {"type": "linear"},
}
OFF_POLICY = {"network": {"type": "mlp", "hidden": [16]}, "learning_starts": 100, "train_every": 8, "gradient_steps": 2}
NORMED = [{"type": "task_one_hot"}, {"type": "running_norm"}]
VISIBLE = {"task_ids": "visible"}


def environments(env: str, **settings: Any) -> dict[str, Any]:
    return {"type": "environments", "env": env, "num_envs": 2, **settings}


def experiments(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the config of each stream, and write the environment with masks to the folder."""
    module = folder / "forbidding.py"
    module.write_text(MASKED)
    heads = {"type": "multihead", "features": 16, "body": {"type": "mlp", "hidden": [16]}}
    gravity = {"type": "random_walk", "start": 9.8, "deviation": 0.05, "low": 5.0, "high": 20.0}
    jumps = {"type": "piecewise", "values": [1, -1, 1], "steps": [1000, 2000]}
    return {
        "repeated, dqn with heads": {
            "stream": environments(
                "CartPole-v1",
                tasks=[{"name": "light"}, {"name": "heavy", "attributes": {"gravity": 40}}],
                sequence=["light", "heavy", "light"],
                repeat=2,
                visibility=VISIBLE,
            ),
            "encoder": {"type": "compose", "encoders": NORMED},
            "learner": {"type": "dqn", **OFF_POLICY, "network": heads, "n_step": 3},
            "budget": {"env_steps": 600},
        },
        "padded, ppo": {
            "stream": environments(
                "CartPole-v1", tasks=[{}, {"env": "Acrobot-v1"}, {"env": "MountainCar-v0"}], spaces="pad", repeat=2
            ),
            "encoder": {"type": "running_norm"},
            "learner": {
                **PPO,
                "methods": [{"type": "ewc", "strength": 10, "samples": 50}, {"type": "redo", "every": 20}],
            },
            "budget": {"env_steps": 640},
        },
        "masked, dqn prioritised": {
            "stream": environments(f"{module}:Forbidding", tasks=[{}, {"kwargs": {"drop": 0.5}}], repeat=2),
            "encoder": {"type": "identity"},
            "learner": {"type": "dqn", **OFF_POLICY, "prioritised": {}, "double": True},
            "budget": {"env_steps": 800},
        },
        "drifting, sac": {
            "stream": environments(
                "Pendulum-v1",
                drift=[
                    {"parameter": "attributes.g", "function": gravity, "probes": [5, 20]},
                    {"parameter": "reward.scale", "function": jumps},
                ],
                visibility={"boundaries": "hidden"},
            ),
            "encoder": {"type": "running_norm"},
            "learner": {"type": "sac", **OFF_POLICY, "methods": [{"type": "l2_init"}]},
            "budget": {"env_steps": 3000},
        },
    }


def start(config: Path, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rlcl", "run", str(config), "--root", str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(printed)
    return printed


def outcome(root: Path) -> tuple[str, str, list[Any]]:
    """Return the records, the checksum of all tensors of the last checkpoint, and the events without rates."""
    (folder,) = root.glob("*/*/seed3")
    last = max((folder / "checkpoints").iterdir())
    tensors = hashlib.sha256((last / "tensors.safetensors").read_bytes()).hexdigest()
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    for event in events:
        event.get("values", event).pop("env_steps_per_second", None)
        event.pop("time", None)
    return (folder / "records.jsonl").read_text(), tensors, events


def event_lines(root: Path) -> int:
    """Return the number of events that a run has written."""
    return sum(file.read_bytes().count(b"\n") for file in root.glob("*/*/seed3/events.jsonl"))


def kill_repeatedly(config: Path, root: Path, events: int, kills: int, rng: random.Random) -> tuple[int, int]:
    """Run a config in pieces, each of which is killed at a random moment after a random event.

    Args:
        config: file of the experiment.
        root: folder of the runs.
        events: events of the whole run.
        kills: number of kills.
        rng: source of the moments.

    Returns:
        The number of kills, and how many of them left a checkpoint to resume from.
    """
    killed = resumable = 0
    for _ in range(kills):
        written = event_lines(root)
        target = rng.randint(min(written + 1, events - 1), events - 1)
        process = start(config, root)
        while event_lines(root) < target and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:  # the run ended before it was killed
            return killed, resumable
        killed += 1
        resumable += any(root.glob("*/*/seed3/checkpoints/*"))
    return killed, resumable


def main(kills: int) -> None:
    """Print the number of kills and of differing runs for each stream, and write them to ``RESULTS``."""
    rng, rows = random.Random(0), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, (title, experiment) in enumerate(experiments(folder).items()):
            config = folder / f"{index}.json"
            config.write_text(json.dumps({"name": f"killed{index}", **COMMON, "evaluation": EVALUATION, **experiment}))
            finish(start(config, folder / f"{index}-through"))
            expected = outcome(folder / f"{index}-through")
            row = {"kills": 0, "kills_after_a_checkpoint": 0, "runs": 0, "runs_that_differ": 0}
            while row["kills"] < kills:
                root = folder / f"{index}-{row['runs']}"
                killed, resumable = kill_repeatedly(config, root, len(expected[2]), min(kills - row["kills"], 3), rng)
                finish(start(config, root))
                row["kills"] += killed
                row["kills_after_a_checkpoint"] += resumable
                row["runs"] += 1
                row["runs_that_differ"] += outcome(root) != expected
            rows[title] = row
            print(title, row, flush=True)
    command = f"python benchmarks/robustness/kill_continual_rl.py {kills}"
    RESULTS.write_text(json.dumps({"command": command, "streams": rows}, indent=2) + "\n")
    if any(row["runs_that_differ"] for row in rows.values()):
        sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
