"""Measure how often the tests of ``rlcl compare`` reject a true null hypothesis; their level is 5 %.

Two learners have the same distribution on each of several streams, and the spread differs between streams. The tests
are for the difference of the IQM over streams, with unpaired seeds. Our test is compared with the usual one, which
rejects if the percentile interval of the bootstrap excludes 0.

    python benchmarks/agreement/level_of_tests.py [repetitions]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from rlcl.statistics.aggregates import bootstrap, difference, interquartile_mean
from rlcl.statistics.hypotheses import bootstrap_test

RESULTS = Path(__file__).parents[1] / "results" / "agreement_level_of_tests.json"
SETTINGS = ((2, 2), (3, 3), (5, 2), (5, 5), (10, 3), (10, 10))  # seeds, streams
LEVEL, REPLICATIONS = 0.05, 1_000
Array = np.ndarray


def learners(rng: np.random.Generator, seeds: int, streams: int, kind: str) -> tuple[Array, Array]:
    """Sample the scores (N, M) of each of two learners that do not differ."""
    place, spread = rng.uniform(0, 3, streams), rng.uniform(0.5, 2, streams)
    shape = (2, seeds, streams)
    noise = rng.normal(size=shape) if kind == "normal" else -rng.exponential(size=shape)
    first, second = place + spread * noise
    return first, second


def found(rng: np.random.Generator, seeds: int, streams: int, kind: str) -> tuple[bool, bool]:
    """Return whether the percentile interval and our test find a difference."""
    tables = learners(rng, seeds, streams, kind)
    one, two = (bootstrap(table, interquartile_mean, rng, replications=REPLICATIONS) for table in tables)
    both = difference(one, two, 1 - LEVEL)
    parts = np.concatenate([table.var(0, ddof=1) / seeds for table in tables])
    test = bootstrap_test(both, parts, np.full(len(parts), seeds - 1.0), seeds)
    return bool(both.low > 0 or both.high < 0), test.p < LEVEL


def main(repetitions: int) -> None:
    """Print the shares of rejections, and write them to ``RESULTS``."""
    rows = []
    print("seeds streams values       percentile    ours")
    for seeds, streams in SETTINGS:
        for kind in ("normal", "skewed"):
            rng = np.random.default_rng([seeds, streams])
            usual, ours = np.mean([found(rng, seeds, streams, kind) for _ in range(repetitions)], 0)
            rows.append({"seeds": seeds, "streams": streams, "values": kind, "percentile": usual, "ours": ours})
            print(f"{seeds:5} {streams:7} {kind:12} {usual:10.3f} {ours:7.3f}", flush=True)
    command = f"python benchmarks/agreement/level_of_tests.py {repetitions}"
    RESULTS.write_text(json.dumps({"command": command, "level": LEVEL, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
