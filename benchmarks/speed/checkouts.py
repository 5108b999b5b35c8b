"""Measure the training speed of this checkout, compared with another one, case by case, in turn on one core.

    python benchmarks/speed/checkouts.py /path/to/other/checkout [rounds [case ...]]

In each round, each checkout has a new process, pinned to one core. New processes are needed because two processes of
the same code differ by a few percent, depending on their memory layout. Within a round, each case is run once to warm
up and then twice, in the order ABBA. The compared time is the processor time of whole runs without their folders.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
FLOOR = 0.95

DIGITS = {"type": "class_incremental", "data": {"type": "digits"}, "experiences": 5}
CART = {"type": "environments", "env": "CartPole-v1", "num_envs": 8}
NATIVE = {**CART, "env": "rlcl_envs/CartPole-v1", "vectorization": "native"}
PENDULUM = {"type": "environments", "env": "Pendulum-v1", "num_envs": 1}
ADAM = {"type": "adam", "lr": 1e-3}


def digits(*methods: Mapping[str, Any], hidden: int = 64) -> dict[str, Any]:
    """Return the config of a classifier of digits with methods."""
    network = {"type": "mlp", "hidden": [hidden, hidden]}
    return {
        "stream": DIGITS,
        "encoder": {"type": "standardize"},
        "learner": {"type": "classifier", "network": network, "optimizer": ADAM, "methods": list(methods)},
        "budget": {"epochs": 20},
    }


CASES: Mapping[str, Mapping[str, Any]] = {
    "classifier, MLP 64-64": digits(),
    "classifier, MLP 400-400": digits(hidden=400),
    "ewc": digits({"type": "ewc", "strength": 100}),
    "si": digits({"type": "si", "strength": 1}),
    "lwf": digits({"type": "lwf"}),
    "rehearsal": digits({"type": "rehearsal", "capacity": 200}),
    "a_gem": digits({"type": "a_gem", "capacity": 200}),
    "ppo, 8 environments": {"stream": CART, "learner": {"type": "ppo", "n_steps": 128}, "budget": {"env_steps": 8192}},
    "ppo, native": {"stream": NATIVE, "learner": {"type": "ppo", "n_steps": 128}, "budget": {"env_steps": 16384}},
    "dqn": {"stream": CART, "learner": {"type": "dqn", "learning_starts": 500}, "budget": {"env_steps": 8000}},
    "sac": {"stream": PENDULUM, "learner": {"type": "sac", "learning_starts": 100}, "budget": {"env_steps": 900}},
    "td3": {"stream": PENDULUM, "learner": {"type": "td3", "learning_starts": 100}, "budget": {"env_steps": 1200}},
    "sb3 PPO": {
        "stream": CART,
        "learner": {"type": "sb3", "algorithm": "PPO", "options": {"n_steps": 128}},
        "budget": {"env_steps": 8192},
    },
}


class Checkout:
    """A process that has imported the package of one checkout.

    Args:
        root: folder of the checkout.
    """

    def __init__(self, root: Path) -> None:
        paths = os.pathsep.join(map(str, (root, root / "envs")))
        self._process = subprocess.Popen(
            [sys.executable, str(HERE), "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert Path(json.loads(self._line())["package"]).is_relative_to(root), f"not the package of {root}"

    def seconds(self, case: str) -> float:
        """Run a case, and return its processor time in seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._line())["seconds"])

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def work() -> None:
    """Run the cases whose names are read from standard input, on the last available core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import rlcl
    from rlcl.experiment import experiment_from
    from rlcl.launch.build import make_trainer

    print(json.dumps({"package": rlcl.__file__}), flush=True)
    for line in sys.stdin:
        trainer = make_trainer(experiment_from({"name": "case", **CASES[line.strip()]}), 0)
        started = time.process_time()
        for _ in trainer.events():
            pass
        print(json.dumps({"seconds": time.process_time() - started}), flush=True)


def main(other: Path, rounds: int, chosen: Sequence[str]) -> None:
    """Measure every case in some pairs of new processes, and write the ratios to the results."""
    from interleaved import ratio, report

    roots = {"ours": HERE.parents[2], "theirs": other}
    seconds: dict[str, dict[str, list[float]]] = {case: {name: [] for name in roots} for case in chosen}
    for turn in range(rounds):
        checkouts = {name: Checkout(roots[name]) for name in (roots if turn % 2 else reversed(roots))}
        for case, found in seconds.items():
            for checkout in checkouts.values():
                checkout.seconds(case)  # warms up
            runs: dict[str, list[float]] = {name: [] for name in roots}
            for name in (*roots, *reversed(roots)):
                runs[name].append(checkouts[name].seconds(case))
            for name in roots:
                found[name].append(sum(runs[name]))
        for checkout in checkouts.values():
            checkout.close()
        print(f"{turn + 1} of {rounds} pairs of processes", flush=True)
    rows = {case: ratio(found, "ours", "theirs") for case, found in seconds.items()}
    for case, row in rows.items():
        print(f"{case:30} {row['median']:.3f} ({row['low']:.3f} to {row['high']:.3f})", flush=True)
    report("speed_checkouts", rows, dict.fromkeys(rows, FLOOR), "python benchmarks/speed/checkouts.py OTHER")


if __name__ == "__main__":
    if "--worker" in sys.argv:
        work()
    else:
        main(Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 9, sys.argv[3:] or list(CASES))
