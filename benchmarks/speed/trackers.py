"""Measure the time that sinks for trackers take of a run of ten minutes with an event every 100 updates.

One run has all sinks, each inside a sink that adds up the time of its calls. Shares are of the run's wall-clock time.
MLflow writes to a SQLite file, Weights & Biases records offline, Trackio writes to its local database; csv and parquet
write tables. A server in a network takes longer for MLflow.

    python benchmarks/speed/trackers.py [MINUTES]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import define, field
from interleaved import RESULTS
from rich.console import Console

from rlcl.config import build, component, option
from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_seed
from rlcl.types import Boundary, Event, Record, RunStart, Sink

SINKS = ("tensorboard", "csv", "parquet", "mlflow", "wandb", "trackio")
TIMES: dict[str, dict[str, float]] = {}


@define(kw_only=True, eq=False)
class Timed(Sink):
    """A sink around another one that adds up the time of its calls.

    Args:
        of: name of the other sink.
    """

    of: str = option("csv")
    _sink: Sink = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sink = build(component("sink", self.of))

    def open(self, run: RunStart) -> None:
        self._timed("open", run)

    def write(self, item: Event | Record | Boundary) -> None:
        self._timed("write", item)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._timed("finish", summary)

    def close(self) -> None:
        self._timed("close")

    def _timed(self, name: str, *arguments: Any) -> None:
        started = time.perf_counter()
        getattr(self._sink, name)(*arguments)
        times = TIMES.setdefault(self.of, {})
        times[name] = times.get(name, 0.0) + time.perf_counter() - started


def run(updates: int, sinks: tuple[str, ...], folder: Path) -> tuple[float, float]:
    """Train a classifier for a number of updates; return the seconds in all, and those per update."""
    experiment = experiment_from(
        {
            "name": "trackers",
            "stream": {"type": "class_incremental", "data": "digits", "experiences": 5},
            "encoder": "scale",
            "learner": {
                "type": "classifier",
                "network": {"type": "mlp", "hidden": [256, 256]},
                "batch_size": 64,
            },
            "budget": {"updates": updates // 5},
            "event_interval": 100,
            "sinks": [{"type": "trackers:Timed", "of": name} for name in sinks],
        }
    )
    started = time.perf_counter()
    run_seed(experiment, 0, folder, Console(quiet=True))
    seconds = time.perf_counter() - started
    return seconds, seconds / updates


def main() -> None:
    """Measure, print and write the shares."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    sys.modules["trackers"] = sys.modules[__name__]  # else the run imports a second one, with times of its own
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        os.environ["TRACKIO_DIR"], os.environ["WANDB_MODE"] = f"{folder}/trackio", "offline"
        _, per_update = run(10_000, (), Path(folder) / "short")
        updates = int(60 * minutes / per_update) // 500 * 500
        seconds, _ = run(updates, SINKS, Path(folder) / "long")
    shares = {
        name: {call: round(spent, 3) for call, spent in times.items()}
        | {"share": round((times["write"] + times.get("close", 0.0) + times.get("finish", 0.0)) / seconds, 5)}
        for name, times in TIMES.items()
    }
    content = {
        "command": f"python benchmarks/speed/trackers.py {minutes:g}",
        "updates": updates,
        "events": updates // 100,
        "seconds": round(seconds, 1),
        "versions": {name: version(name) for name in ("mlflow", "wandb", "trackio")},
        "seconds_and_share_of_write_finish_and_close": shares,
    }
    print(json.dumps(content, indent=2))
    (RESULTS / "speed_trackers.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
