"""Compare the returns of seeds that are trained at once (``batched_seeds``) with those of seeds that are trained alone.

Both sides train PPO on CartPole with the same 20 seeds. The settings are those of RL Zoo with fewer env steps, so that
returns still vary. The policy selects the action with the highest probability. The output contains the mean and the
interquartile mean of the returns, and the 95 % interval of the difference (stratified bootstrap).

    python benchmarks/agreement/batched_seeds.py [env steps] [seeds]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.statistics.aggregates import bootstrap, difference, interquartile_mean, mean

RESULTS = Path(__file__).parents[1] / "results" / "agreement_batched_seeds.json"
REPLICATIONS = 10_000
Array = np.ndarray[Any, Any]


def returns(batched: bool, steps: int, seeds: int, root: str) -> Array:
    """Return the returns (seeds,) of the final policies."""
    config = {
        "name": "at-once" if batched else "alone",
        "seeds": list(range(seeds)),
        "batched_seeds": batched,
        "stream": {"type": "environments", "env": "rlcl_envs/CartPole-v1", "num_envs": 8, "vectorization": "native"},
        "learner": {
            "type": "ppo",
            "n_steps": 32,
            "batch_size": 256,
            "epochs": 20,
            "gamma": 0.98,
            "gae_lambda": 0.8,
            "optimizer": {"type": "adam", "lr": 1e-3, "epsilon": 1e-5},
        },
        "budget": {"env_steps": steps},
        "evaluation": {"every": "end", "before": False, "episodes": 10},
        "event_interval": 4096,
    }
    finished = run_experiment(experiment_from(config), root, Console(quiet=True))
    return np.array([run.outcome.R[0, 0] for run in finished])


def compared(at_once: Array, alone: Array, statistic: Any) -> dict[str, Any]:
    """Compute a statistic of both sides, and the interval of the unpaired difference."""
    one, other = (
        bootstrap(values[:, None], statistic, np.random.default_rng(i), replications=REPLICATIONS)
        for i, values in enumerate((at_once, alone))
    )
    between = difference(one, other)
    return {
        "at_once": float(one.value),
        "alone": float(other.value),
        "difference": [float(between.low), float(between.high)],
    }


def main() -> None:
    steps, seeds = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 8192), (2, 20)))
    with tempfile.TemporaryDirectory() as root:
        at_once, alone = (returns(batched, steps, seeds, root) for batched in (True, False))
    rows = {"mean": compared(at_once, alone, mean), "iqm": compared(at_once, alone, interquartile_mean)}
    for name, row in rows.items():
        low, high = row["difference"]
        print(f"{name:4} at once {row['at_once']:.1f}, alone {row['alone']:.1f}, difference {low:.1f} to {high:.1f}")
    command = f"python benchmarks/agreement/batched_seeds.py {steps} {seeds}"
    content = {"command": command, "at_once": at_once.tolist(), "alone": alone.tolist(), **rows}
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
