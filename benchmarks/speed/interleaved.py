"""Measurement of contestants in turn, and the ratio of their times in each repetition, with its spread."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

RESULTS = Path(__file__).parents[1] / "results"


def measure(
    contestants: Mapping[str, Callable[[], Any]],
    repetitions: int,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: bool = True,
) -> dict[str, list[float]]:
    """Measure the seconds of each repetition of each contestant; the order is reversed in each repetition.

    Args:
        contestants: functions by name; each call does the whole work once.
        repetitions: number of repetitions of every contestant.
        clock: function that returns the time in seconds.
        warm_up: whether one more repetition runs first and is not counted.

    Returns:
        Seconds of each repetition, by name.
    """
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for repetition in range(0 if warm_up else 1, repetitions + 1):
        for name in names if repetition % 2 else reversed(names):
            started = clock()
            contestants[name]()
            if repetition:
                seconds[name].append(clock() - started)
    return seconds


def ratio(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> dict[str, float]:
    """Compute our speed relative to theirs: median, quartiles and a bootstrap interval of the median."""
    ratios = np.array(seconds[theirs]) / np.array(seconds[ours])
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (10_000, len(ratios))), 1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {
        "median": float(np.median(ratios)),
        "low": float(low),
        "high": float(high),
        "quartile_1": float(np.quantile(ratios, 0.25)),
        "quartile_3": float(np.quantile(ratios, 0.75)),
        "repetitions": len(ratios),
        "seconds_ours": float(np.median(seconds[ours])),
        "seconds_theirs": float(np.median(seconds[theirs])),
    }


def report(
    name: str,
    rows: Mapping[str, Mapping[str, float]],
    targets: Mapping[str, float | None],
    command: str,
    wanted: Literal["at least", "at most"] = "at least",
) -> None:
    """Print the ratios with their targets, and write them to ``benchmarks/results``.

    Args:
        name: name of the file, without its extension.
        rows: results of :func:`ratio`, by task.
        targets: targets, by task; None if there is no target.
        command: command that repeats the measurement.
        wanted: whether a target is a minimum or a maximum.
    """
    print(f"{'work':44} {'ratio':>7} {'interval':>15} {wanted:>9}")
    for work, row in rows.items():
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        target = targets[work]
        missed = target is not None and (row["median"] < target if wanted == "at least" else row["median"] > target)
        shown = "" if target is None else f"{target:9.2f}"
        print(f"{work:44} {row['median']:7.3f} {interval:>15} {shown:>9}{'  missed' if missed else ''}")
    RESULTS.mkdir(exist_ok=True)
    content = {
        "command": command,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "rows": {work: {**row, wanted.replace(" ", "_"): targets[work]} for work, row in rows.items()},
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
