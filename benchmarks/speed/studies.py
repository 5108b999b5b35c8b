"""Measure what studies cost beside their runs: shards, Ray, trials of a search, and suites of many cells.

    python benchmarks/speed/studies.py [shards] [ray] [trials] [cells]

- ``shards``: 8 cells of about 20 s with one process, against two calls of ``rlcl bench`` that take a shard each.
- ``ray``: the same suite with two processes of the launcher ``local``, against the launcher ``ray`` on two CPUs, which
  starts Ray on this machine first (needs the extra ``ray``).
- ``trials``: 1,000 trials of a search with TPE whose jobs take no time: asking, reporting and telling.
- ``cells``: reading a suite of 100 to 10,000 cells, its state, and the list of as many runs, with the peak memory.

The parts that are named are measured, all but ``ray`` by default; the others keep their results in
``results/speed_studies.json``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from interleaved import RESULTS, measure, ratio

RLCL = [sys.executable, "-m", "rlcl"]
FILE = RESULTS / "speed_studies.json"
TRIALS = 1_000
EQUAL = """
name: equal
base:
  extends: quickstart
  stream: {type: class_incremental, data: {type: digits}, experiences: 5}
  budget: {epochs: EPOCHS}
  event_interval: 1000
  sinks: []
seeds: 8
"""
MANY = """
name: many
base: {extends: quickstart, sinks: []}
sweep:
  learner.optimizer.lr: [RATES]
seeds: 10
"""
SEARCH = """
name: search
base: {extends: quickstart, sinks: []}
search:
  learner.optimizer.lr: {log: [1e-4, 1e-1]}
  learner.batch_size: {log_integer: [8, 256]}
  learner.network.hidden: {narrow: [16], wide: [64, 64]}
objective: accuracy.average
trials: TRIALS
"""
# Time and peak memory of a piece of work in a process of its own.
CHILD = """
import json, resource, sys, time
started = time.perf_counter()
{work}
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}}))
"""
READING = """
from pathlib import Path
from rlcl.study.grid import Grid
from rlcl.study.suite import load_suite
suite = load_suite(sys.argv[1])
Grid(suite, Path(sys.argv[2])).counts()
"""
LISTING = """
from rlcl.tracking.runs import find_runs
from pathlib import Path
runs = find_runs(Path(sys.argv[2]))
assert runs
for run in runs:
    run.state, run.values("step"), run.values("updated"), run.metrics
"""


def bench(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a call of ``rlcl bench`` on the suite in a folder."""
    return subprocess.Popen([*RLCL, "bench", "equal.yaml", "--quiet", *arguments], cwd=folder)


def finish(*processes: subprocess.Popen[bytes]) -> None:
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise RuntimeError(f"rlcl bench ended with {statuses}")


def in_new_folder(epochs: int, start: Callable[[Path], None]) -> Callable[[], None]:
    """Return a contestant: the suite in a new folder."""

    def contestant() -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "equal.yaml").write_text(EQUAL.replace("EPOCHS", str(epochs)))
            start(Path(folder))

    return contestant


def epochs_of(seconds: float) -> int:
    """Return the number of epochs with which a cell takes about so many seconds."""
    times = {}
    for epochs in (2, 22):
        started = time.perf_counter()
        in_new_folder(epochs, lambda folder: finish(bench(folder, "seeds=1", "--workers", "1")))()
        times[epochs] = time.perf_counter() - started
    return max(2, round(seconds / (times[22] - times[2]) * 20))


def shards() -> Mapping[str, Any]:
    epochs = epochs_of(20)
    contestants = {
        "one": in_new_folder(epochs, lambda folder: finish(bench(folder, "--workers", "1"))),
        "two shards": in_new_folder(
            epochs,
            lambda folder: finish(*(bench(folder, "--workers", "1", "--shard", f"{k}/2") for k in (1, 2))),
        ),
    }
    seconds = measure(contestants, 1, warm_up=False)
    return {
        "epochs": epochs,
        "seconds": seconds,
        "two shards against one": ratio(seconds, "two shards", "one")["median"],
    }


def ray() -> Mapping[str, Any]:
    epochs = epochs_of(20)
    contestants = {
        name: in_new_folder(epochs, lambda folder, n=name: finish(bench(folder, "--workers", "2", "--launcher", n)))
        for name in ("local", "ray")
    }
    seconds = measure(contestants, 2, warm_up=False)
    return {"epochs": epochs, "seconds": seconds, "added by ray": 1 / ratio(seconds, "ray", "local")["median"] - 1}


def trials() -> Mapping[str, Any]:
    from rlcl.study.tuning.definition import load_tuning
    from rlcl.study.tuning.study import Journal

    rng, times = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "search.yaml"
        file.write_text(SEARCH.replace("TRIALS", str(TRIALS)))
        journal = Journal(load_tuning(file), Path(folder))
        for _ in range(TRIALS):
            started = time.perf_counter()
            trial = journal.ask()
            assert trial is not None
            value = -abs(np.log10(trial.values["learner.optimizer.lr"]) + 2) + 0.1 * rng.normal()
            for step in range(1, 6):
                journal.report(trial, [value] * step)
            journal.complete(trial, [value])
            times.append(time.perf_counter() - started)
    return {
        "trials": TRIALS,
        "mean seconds of a trial": float(np.mean(times)),
        "of the first and the last 100": [float(np.mean(times[:100])), float(np.mean(times[-100:]))],
    }


def child(work: str, *arguments: str) -> Mapping[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(work=work), *arguments], check=True, capture_output=True, text=True
    )
    measured: Mapping[str, float] = json.loads(done.stdout)
    return measured


def cells() -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for count in (100, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rates = ", ".join(f"{1e-4 + 1e-6 * k:.6f}" for k in range(count // 10))
            (folder / "many.yaml").write_text(MANY.replace("RATES", rates))
            reading = [child(READING, str(folder / "many.yaml"), name) for _ in range(3)]
            runs_of(folder, count)
            listing = [child(LISTING, "", str(folder / "runs")) for _ in range(3)]
            found[f"{count:,} cells"] = {
                part: {key: round(float(np.median([each[key] for each in times])), 2) for key in ("seconds", "mib")}
                for part, times in (("reading and state", reading), ("runs list", listing))
            }
    return found


def runs_of(folder: Path, count: int) -> None:
    """Make so many finished runs by copying one."""
    experiment = folder / "one.yaml"
    experiment.write_text(
        "extends: quickstart\nname: many\nobjective: null\nseeds: [0]\nsinks: []\nbudget: {updates: 2}\n"
    )
    subprocess.run([*RLCL, "run", str(experiment), "--root", str(folder / "runs"), "--quiet"], check=True, cwd=folder)
    (run,) = (folder / "runs" / "many").glob("*/seed0")
    shutil.rmtree(run / "checkpoints")
    for index in range(count - 1):
        target = folder / "runs" / "many" / f"{index // 10:012x}" / f"seed{index % 10}"
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(run, target)


PARTS: Mapping[str, Callable[[], Mapping[str, Any]]] = {
    "shards": shards,
    "ray": ray,
    "trials": trials,
    "cells": cells,
}


def main() -> None:
    """Measure the named parts, print them, and write them to the file of results."""
    names = sys.argv[1:] or [name for name in PARTS if name != "ray"]
    content = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in names:
        content[name] = {
            "command": f"python benchmarks/speed/studies.py {name}",
            "processors": os.cpu_count(),
            **PARTS[name](),
        }
        print(json.dumps({name: content[name]}, indent=2), flush=True)
        FILE.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
