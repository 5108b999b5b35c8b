"""Measure the time of a stratified bootstrap, compared with a plain loop: 50,000 replications, 10 seeds, 20 tasks.

The loop samples and aggregates one replication at a time with scipy's ``trim_mean``, as a researcher would write it by
hand. It computes a twentieth of the replications, and its time is multiplied by 20.

    python benchmarks/speed/bootstrap.py [repetitions]
"""

from __future__ import annotations

import json
import platform
import sys

import numpy as np
from interleaved import RESULTS, measure, ratio
from scipy.stats import trim_mean

from rlcl.statistics.aggregates import AGGREGATES, bootstrap, improvement_interval, interquartile_mean

SEEDS, TASKS, REPLICATIONS, PART = 10, 20, 50_000, 20
AT_MOST = 2.0  # seconds, for the IQM
SCORES = np.random.default_rng(0).random((SEEDS, TASKS))


def loop() -> tuple[float, float]:
    """Compute the interval of the IQM, one replication at a time."""
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(REPLICATIONS // PART):
        chosen = rng.integers(0, SEEDS, (SEEDS, TASKS))
        draws.append(trim_mean(SCORES[chosen, np.arange(TASKS)], 0.25, axis=None))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def main(repetitions: int) -> None:
    """Measure the seconds of each statistic, print them, and write them to the results."""

    def drawn(name: str) -> None:
        bootstrap(SCORES, AGGREGATES[name], np.random.default_rng(0), replications=REPLICATIONS)

    contestants = {name: (lambda name=name: drawn(name)) for name in AGGREGATES}
    contestants["improvement"] = lambda: improvement_interval(SCORES, SCORES + 0.1, np.random.default_rng(0))
    contestants["loop"] = loop
    ours = bootstrap(SCORES, interquartile_mean, np.random.default_rng(0), replications=REPLICATIONS)
    np.testing.assert_allclose(loop(), (ours.low, ours.high), atol=0.005)
    seconds = measure(contestants, repetitions)
    seconds["loop"] = [PART * each for each in seconds["loop"]]
    medians = {name: float(np.median(each)) for name, each in seconds.items()}
    beside = ratio(seconds, "iqm", "loop")
    for name, each in medians.items():
        print(f"{name:16} {each:8.3f} s")
    print(f"IQM beside the loop: {beside['median']:.0f} times; wanted at most {AT_MOST} s")
    content = {
        "command": f"python benchmarks/speed/bootstrap.py {repetitions}",
        "numpy": np.__version__,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "work": f"{REPLICATIONS} replications, {SEEDS} seeds, {TASKS} tasks",
        "seconds": {
            name: {"median": each, "at_most": AT_MOST} if name == "iqm" else {"median": each}
            for name, each in medians.items()
        },
        "iqm_beside_loop": beside,
    }
    (RESULTS / "speed_bootstrap.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
