"""When a run calls its sinks, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlcl.commands import main
from rlcl.experiment import Experiment, experiment_from
from rlcl.launch.seed_run import run_seed_steps
from rlcl.launch.seeds import run_seed
from rlcl.launch.signals import Interrupted, StopSignal
from rlcl.types import Boundary, Event, Record, RunStart, Sink

QUIET = Console(quiet=True)
TAPE: list[Any] = []
WHOLE = ["open", "step", "step", "Event", "step", "step", "step", "Event", "step", "step", "finish", "close"]


class Tape(Sink):
    """Writes each call on one tape that all share.

    Args:
        name: stands before each call.
        fails: the call that raises.
    """

    def __init__(self, name: str = "", fails: str = "") -> None:
        self.name, self.fails = name, fails

    def note(self, call: str, *said: Any) -> None:
        TAPE.append((f"{self.name}{call}", *said))
        if call == self.fails:
            raise OSError("no luck")

    def open(self, run: RunStart) -> None:
        self.note("open", run.step, (run.folder / "config.yaml").is_file())
        self.run = run

    def write(self, item: Event | Record | Boundary) -> None:
        self.note(type(item).__name__, item.step)

    def step(self, step: int, experience: int) -> None:
        self.note("step", step, experience)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.note("finish", summary["steps"], (self.run.folder / "summary.json").is_file())

    def close(self) -> None:
        self.note("close")

    def seeds_changed(self, folder: Path) -> None:
        self.note("seeds_changed", folder.name)


@pytest.fixture(autouse=True)
def tape() -> list[Any]:
    TAPE.clear()
    return TAPE


def experiment(*sinks: Mapping[str, Any]) -> Experiment:
    return experiment_from(
        {
            "name": "small",
            "stream": {"type": "class_incremental", "experiences": 2},
            "learner": {"type": "classifier", "network": {"type": "mlp", "hidden": [4]}},
            "budget": {"updates": 2},
            "event_interval": 2,
            "evaluation": {"on": "current", "before": False},
            "sinks": [{"type": f"{__name__}:Tape", **sink} for sink in sinks],
        }
    )


def without_costs(tape: list[Any]) -> list[Any]:
    """Records of one boundary as one."""
    return [said for place, said in enumerate(tape) if said[0] != "Record" or tape[place - 1] != said]


def test_a_run_calls_its_sinks_in_order(tape: list[Any], tmp_path: Path) -> None:
    asked = experiment({})
    finished = run_seed(asked, 0, tmp_path, QUIET)
    assert [
        ("open", 0, True),
        ("Boundary", 0),
        ("step", 0, 0),
        ("step", 1, 0),
        ("Event", 2),
        ("step", 2, 1),
        ("Record", 2),
        ("Boundary", 2),
        ("step", 2, 1),
        ("step", 3, 1),
        ("Event", 4),
        ("step", 4, 1),
        ("Record", 4),
        ("Boundary", 4),
        ("step", 4, 1),
        ("finish", 4, True),
        ("close",),
        ("seeds_changed", asked.hash),
    ] == without_costs(tape)
    tape.clear()
    assert finished.path == run_seed(asked, 0, tmp_path, QUIET).path
    assert [] == tape


def test_an_interrupted_run_closes_its_sinks_and_tells_the_next_where_it_goes_on(
    tape: list[Any], tmp_path: Path
) -> None:
    stop = StopSignal()
    run = run_seed_steps(experiment({}), 0, tmp_path, QUIET, stop)

    def drain() -> None:
        for _ in run:
            if tape[-1] == ("step", 1, 0):
                stop.signum = 2

    with pytest.raises(Interrupted):
        drain()
    assert [("step", 2, 1), ("close",)] == tape[-2:]
    tape.clear()
    run_seed(experiment({}), 0, tmp_path, QUIET)
    assert ("open", 2, True) == tape[0]


@pytest.mark.parametrize(
    ("fails", "calls"),
    [
        ("open", ["open"]),
        ("step", ["open", "step", "close"]),
        ("Event", ["open", "step", "step", "Event", "close"]),
        ("finish", WHOLE),
        ("close", WHOLE),
    ],
)
def test_a_sink_that_fails_is_closed_and_the_run_continues(
    fails: str, calls: list[str], tape: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = experiment({"name": "a"}, {"name": "b", "fails": fails})
    finished = run_seed(asked, 0, tmp_path, Console())
    others = [call for call, *_ in tape if call not in ("aRecord", "bRecord", "aBoundary", "bBoundary")]
    assert [*calls, "seeds_changed"] == [call[1:] for call in others if call[0] == "b"]
    assert ["finish", "close", "seeds_changed"] == [call[1:] for call in others if call[0] == "a"][-3:]
    printed = " ".join(capsys.readouterr().out.split())
    assert 1 == printed.count(f"small seed 0: sink {__name__}:Tape stopped (OSError: no luck); the run continues")
    assert 1 == (finished.path / "log.txt").read_text().count("OSError: no luck\n")
    tape.clear()
    quiet = run_seed(experiment(), 0, tmp_path / "without", QUIET)
    assert (finished.path / "records.jsonl").read_bytes() == (quiet.path / "records.jsonl").read_bytes()


def test_a_view_of_all_seeds_that_fails_is_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="its view of all seeds is not current"):
        run_seed(experiment({"fails": "seeds_changed"}), 0, tmp_path, QUIET)


def test_a_removed_run_is_told_to_the_sinks_of_those_that_are_left(tape: list[Any], tmp_path: Path) -> None:
    asked = experiment({})
    folders = [run_seed(asked, seed, tmp_path, QUIET).path for seed in (0, 1)]
    tape.clear()
    with pytest.raises(SystemExit):
        main(["runs", "rm", str(folders[1]), "--root", str(tmp_path), "--yes"])
    assert [("seeds_changed", asked.hash)] == tape


@pytest.mark.parametrize("sinks", [[], [{"type": "progress", "seconds": 1}]])
def test_every_run_has_one_log_and_one_progress(
    sinks: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = experiment_from(
        {
            "name": "small",
            "stream": {"type": "class_incremental", "experiences": 2},
            "learner": "classifier",
            "budget": {"updates": 2},
            "sinks": sinks,
        }
    )
    finished = run_seed(asked, 0, tmp_path, Console())
    printed = capsys.readouterr().out
    assert 1 == printed.count("experience 2/2")
    assert 1 == (finished.path / "log.txt").read_text().count("experience 2/2")
    assert not (finished.path / "tensorboard").exists()
