"""Measure a search of 30 PPO trials on CartPole with ``rlcl tune``, and with rl-zoo3 in its own environment.

Both sample with TPE from rl-zoo3's space for PPO, without pruning. A trial has 50,000 env steps in 8 environments, and
20 greedy episodes judge it. The winners are then trained with 5 fresh seeds, ours by ``rlcl tune`` itself and theirs by
Stable-Baselines3, and judged in the same way. The wall time is that of the searches alone. rl-zoo3 runs one trial at a
time; ours are measured so, and with a process on each core.

    python benchmarks/speed/tuning.py PYTHON_WITH_RL_ZOO3
"""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleaved import RESULTS

TRIALS, STEPS, ENVS, EPISODES, SEEDS = 30, 50_000, 8, 20, 5
OURS = f"""
name: cartpole
base:
  stream: {{type: environments, env: CartPole-v1, num_envs: {ENVS}}}
  learner: {{type: ppo}}
  budget: {{env_steps: {STEPS}}}
  evaluation: {{episodes: {EPISODES}}}
  sinks: []
search:
  learner.batch_size: [4, 8, 16, 32, 64, 128, 256, 512, 1024]
  learner.n_steps: [32, 64, 128, 256, 512, 1024, 2048, 4096]
  learner.gamma: {{uniform: [0.97, 0.9999]}}
  learner.gae_lambda: {{uniform: [0.9, 0.9999]}}
  learner.optimizer.lr: {{log: [1e-5, 0.002]}}
  learner.entropy_weight: {{log: [1e-8, 0.1]}}
  learner.clip: [0.1, 0.2, 0.3, 0.4]
  learner.epochs: [1, 5, 10, 20]
  learner.clip_norm: {{uniform: [0.3, 2]}}
  learner.network.hidden: {{tiny: [64], small: [64, 64], medium: [256, 256]}}
  learner.network.activation: [tanh, relu]
objective: return.average
trials: {TRIALS}
report: {{seeds: {SEEDS}}}
"""
# Stable-Baselines3 with the parameters of the best trial, as rl-zoo3 converts them.
THEIRS = """
import json, sys
import torch
from rl_zoo3.hyperparams_opt import convert_onpolicy_params
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
torch.set_num_threads(1)
settings, found = convert_onpolicy_params(json.loads(sys.argv[1])), []
for seed in range({seeds}):
    model = PPO("MlpPolicy", make_vec_env("CartPole-v1", {envs}, seed=seed), seed=seed, device="cpu", **settings)
    model.learn({steps})
    found.append(evaluate_policy(model, make_vec_env("CartPole-v1", 1, seed=1000 + seed), {episodes})[0])
print(json.dumps(found))
"""


def ours(folder: Path, workers: int) -> dict[str, Any]:
    """Run our search; return its wall time and the returns of the winner."""
    folder.mkdir()
    (folder / "cartpole.yaml").write_text(OURS)
    command = [sys.executable, "-m", "rlcl", "tune", "cartpole.yaml", "--workers", str(workers)]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    searched, lines = 0.0, []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("winner"):
            searched = time.perf_counter() - started
    assert process.wait() == 0, "".join(lines)
    runs = folder / "runs" / "cartpole"
    tuning = json.loads((runs / "tuning.json").read_text())
    summaries = [json.loads(path.read_text()) for path in sorted(runs.glob("*/seed*/summary.json"))]
    returns = [summary["metrics"]["return.average"] for summary in summaries]
    assert len(returns) == SEEDS
    values = [trial["values"][0] for trial in tuning["trials"] if trial.get("values")]
    return {"seconds": searched, "best_trial": max(values), "trials": len(values), "returns": returns}


def theirs(folder: Path, python: str) -> dict[str, Any]:
    """Run rl-zoo3's search; return its wall time and the returns of the winner."""
    folder.mkdir()
    options = {
        "algo": "ppo",
        "env": "CartPole-v1",
        "n-trials": TRIALS,
        "n-timesteps": STEPS,
        "sampler": "tpe",
        "pruner": "none",
        "n-evaluations": 1,
        "eval-episodes": EPISODES,
        "log-folder": folder / "logs",
        "num-threads": 1,
        "seed": 0,
        "device": "cpu",
        "verbose": 0,
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [python, "-m", "rl_zoo3.train", "-optimize", "--no-optim-plots", *arguments]
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    (table,) = (folder / "logs").rglob("report_*.csv")
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row["value"]]
    best = max(rows, key=lambda row: float(row["value"]))
    parameters = {key.removeprefix("params_"): _parsed(text) for key, text in best.items() if key.startswith("params_")}
    code = THEIRS.format(seeds=SEEDS, envs=ENVS, steps=STEPS, episodes=EPISODES)
    done = subprocess.run([python, "-c", code, json.dumps(parameters)], check=True, capture_output=True, text=True)
    returns = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": seconds, "best_trial": float(best["value"]), "trials": len(rows), "returns": returns}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main(python: str) -> None:
    """Measure all, in one run."""
    os.environ["OMP_NUM_THREADS"] = "1"
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        rows = {
            "rl-zoo3, one trial at a time": theirs(folder / "theirs", python),
            "rlcl, one trial at a time": ours(folder / "one", 1),
            f"rlcl, {cores} at a time": ours(folder / "all", cores),
        }
    for name, row in rows.items():
        mean, best = np.mean(row["returns"]), row["best_trial"]
        print(f"{name:32} {row['seconds']:8.0f} s  best trial {best:6.1f}  fresh seeds {mean:6.1f} {row['returns']}")
    content = {
        "command": "python benchmarks/speed/tuning.py PYTHON_WITH_RL_ZOO3",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": cores,
        "rows": rows,
    }
    (RESULTS / "speed_tuning.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
