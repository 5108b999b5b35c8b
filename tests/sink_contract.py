"""What every sink keeps to; a module that imports it gives the sinks, as the fixture ``name``."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from harness import differences
from pyarrow.parquet import read_table
from rich.console import Console

from rlcl.config import build, component
from rlcl.experiment import Experiment, experiment_from
from rlcl.launch.seed_run import run_folder, run_seed_steps
from rlcl.launch.seeds import run_seed
from rlcl.launch.signals import Interrupted, StopSignal
from rlcl.training import checkpoint
from rlcl.types import Sink

QUIET = Console(quiet=True)
DIGITS: Mapping[str, Any] = {
    "name": "digits",
    "stream": {"type": "class_incremental", "experiences": 2},
    "encoder": "scale",
    "learner": {
        "type": "classifier",
        "network": {"type": "mlp", "hidden": [8], "dropout": 0.5},
        "batch_size": 64,
    },
    "budget": {"updates": 6},
    "event_interval": 1,
}
# What a run folder holds without any sink.
OURS = {"config.yaml", "costs.jsonl", "events.jsonl", "manifest.json", "records.jsonl", "status.json"}
OURS |= {"summary.json", "log.txt"}
WALL_CLOCK = ("time", "samples_per_second")  # columns of tables


def experiment(*sinks: str) -> Experiment:
    return experiment_from({**DIGITS, "sinks": list(sinks)})


def stopped(experiment: Experiment, root: Path, items: int) -> None:
    """A run that is asked to stop after some yields."""
    stop = StopSignal()
    run = run_seed_steps(experiment, 0, root, QUIET, stop)

    def drain() -> None:
        for number, _ in enumerate(run, 1):
            if number == items:
                stop.signum = 2

    with pytest.raises(Interrupted):
        drain()


def state(run: Path) -> Any:
    found = checkpoint.load_newest(run / "checkpoints", print)
    assert found is not None
    return found[1]["trainer"]


def written(run: Path) -> dict[str, Any]:
    """What a sink has written, by the files' paths, without what differs between equal runs.

    TensorBoard's events hold the time; a tracker gives its run an id, and may keep files of its own.
    """
    paths = [path for path in run.rglob("*") if path.is_file() and not {"checkpoints", "wandb"} & set(path.parts)]
    names = {str(path.relative_to(run)): path for path in paths if "tfevents" not in path.name}
    return {name: content(path) for name, path in names.items() if name not in OURS}


def content(path: Path) -> Any:
    if path.name == "events.csv":
        with path.open(newline="") as file:
            return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in csv.DictReader(file)]
    if path.name == "events.parquet":
        return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in read_table(path).to_pylist()]
    if path.name == "trackers.json":
        return [{k: v for k, v in saved.items() if k != "run"} for saved in json.loads(path.read_text()).values()]
    return path.read_bytes()


def test_it_is_built_with_its_defaults(name: str) -> None:
    assert isinstance(build(component("sink", name)), Sink)


def test_it_changes_no_record_no_weight_and_no_hash(name: str, tmp_path: Path) -> None:
    runs = [run_seed(experiment(*sinks), 0, tmp_path / str(len(sinks)), QUIET).path for sinks in ((), (name,))]
    assert runs[0].relative_to(tmp_path / "0") == runs[1].relative_to(tmp_path / "1")
    assert (runs[0] / "records.jsonl").read_bytes() == (runs[1] / "records.jsonl").read_bytes()
    assert [] == differences(*map(state, runs))


# Before the first boundary, within an experience, between two of them, and before the last record.
@pytest.mark.parametrize("items", [1, 6, 12, 20])
def test_a_run_that_was_interrupted_leaves_the_files_of_one_that_ran_through(
    name: str, items: int, tmp_path: Path
) -> None:
    asked = experiment(name)
    through = run_seed(asked, 0, tmp_path / "through", QUIET).path
    stopped(asked, tmp_path / "stopped", items)
    resumed = run_seed(asked, 0, tmp_path / "stopped", QUIET).path
    assert written(through) == written(resumed)


def test_it_need_not_be_open_to_be_asked_of_a_config(name: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path, experiment(name), 0).parent
    folder.mkdir(parents=True)
    sink = build(component("sink", name))
    sink.seeds_changed(folder)
    assert isinstance(sink.look(folder), str)
    assert not (folder / "tensorboard").exists()
