"""Means and intervals over seeds, beside the seeds' own boards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from rlcl.commands import main
from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.sinks.tensorboard.layout import seeds_layout
from rlcl.sinks.tensorboard.seed_intervals import seed_intervals, write_seed_board

# Student's t for 95 % and one degree of freedom; two seeds at 0 and 1 have the standard error 1/2.
HALF = 12.706204736432095 / 2


def seed(folder: Path, number: int, accuracies: list[float], losses: list[float], state: str = "finished") -> None:
    """A run's files, as far as they are read: evaluated at steps 10, 20, ..., events at 1, 2, ..."""
    path = folder / f"seed{number}"
    path.mkdir()
    (path / "status.json").write_text(json.dumps({"state": state}))
    (path / "summary.json").write_text(json.dumps({"experiences": ["digits 0-1"], "measures": ["accuracy"]}))
    record = {"run": "", "seed": number, "trained_on": 0, "evaluated_on": 0}
    rows = [{**record, "step": 10 * i, "metric": "accuracy", "value": a} for i, a in enumerate(accuracies, 1)]
    rows += [{**record, "step": 10, "metric": "parameters", "value": 7.0}]
    (path / "records.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    events = [{"step": i, "time": 0.0, "loss": loss, "lr": 0.1} for i, loss in enumerate(losses, 1)]
    (path / "events.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in events))


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, round(e.value, 4)) for e in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def test_mean_and_interval_at_the_steps_that_all_seeds_have() -> None:
    bands = seed_intervals([{"a": {1: 0.0, 2: 5.0}, "b": {1: 0.0}}, {"a": {1: 1.0}}])
    assert ["a"] == list(bands)
    assert [1] == list(bands["a"])
    found = bands["a"][1]
    assert (0.5, 2) == (found.mean, found.seeds)
    assert found.low == pytest.approx(0.5 - HALF)
    assert found.high == pytest.approx(0.5 + HALF)


def test_long_curves_are_thinned() -> None:
    long = {"a": dict.fromkeys(range(2000), 0.0)}
    steps = list(seed_intervals([long, long])["a"])
    assert 500 == len(steps)
    assert 1999 == steps[-1]


def test_two_finished_seeds_make_a_board_without_what_says_nothing_as_a_mean(tmp_path: Path) -> None:
    seed(tmp_path, 0, [0.0, 0.5], [2.0])
    seed(tmp_path, 1, [1.0, 0.5], [2.0])
    seed(tmp_path, 2, [9.0], [9.0], state="running")
    write_seed_board(tmp_path)
    tag, low, high = (f"{kind}/accuracy/00 digits 0-1" for kind in ("mean", "low", "high"))
    curves = {kind: [(10, round(0.5 + sign * HALF, 4)), (20, 0.5)] for kind, sign in ((tag, 0), (low, -1), (high, 1))}
    losses = {f"{kind}/train/loss": [(1, 2.0)] for kind in ("mean", "low", "high")}
    assert {**curves, **losses} == read(tmp_path)


def test_one_seed_makes_none(tmp_path: Path) -> None:
    seed(tmp_path, 0, [0.0], [2.0])
    write_seed_board(tmp_path)
    assert not (tmp_path / "tensorboard").exists()


def test_a_damaged_run_does_not_break_the_others(tmp_path: Path) -> None:
    for number in range(3):
        seed(tmp_path, number, [0.5], [2.0])
    (tmp_path / "seed1" / "records.jsonl").write_text("{\n")
    write_seed_board(tmp_path)
    assert [(10, 0.5)] == read(tmp_path)["mean/accuracy/00 digits 0-1"]


def test_experiences_share_a_chart_with_margins() -> None:
    (value,) = seeds_layout(["accuracy/00 a", "accuracy/01 b", "train/loss"]).value
    layout = layout_pb2.Layout.FromString(value.tensor.string_val[0])
    charts = {c.title: {chart.title.partition(":")[0]: chart.margin for chart in c.chart} for c in layout.category}
    assert ["experiences", "training"] == list(charts)
    assert ["mean/accuracy/00 a", "mean/accuracy/01 b"] == [s.value for s in charts["experiences"]["accuracy"].series]
    (loss,) = charts["training"]["train/loss"].series
    assert ("mean/train/loss", "low/train/loss", "high/train/loss") == (loss.value, loss.lower, loss.upper)


def test_the_board_of_seeds_follows_the_runs(tmp_path: Path) -> None:
    plain = {
        "name": "two",
        "seeds": [0, 1],
        "stream": {"type": "class_incremental", "experiences": 2},
        "learner": {"type": "classifier", "network": {"type": "mlp", "hidden": [4]}},
        "budget": {"updates": 2},
        "sinks": [{"type": "tensorboard", "moments": 0}],
    }
    finished = run_experiment(experiment_from(plain), tmp_path, Console(quiet=True))
    folder = finished[0].path.parent
    values = [
        next(r.value for r in f.outcome.records if (r.step, r.evaluated_on, r.metric) == (4, 1, "accuracy"))
        for f in finished
    ]
    assert (4, round(sum(values) / 2, 4)) == read(folder)["mean/accuracy/01 digits 5-9"][-1]
    with pytest.raises(SystemExit):
        main(["runs", "rm", str(finished[1].path), "--root", str(tmp_path), "--yes"])
    assert not (folder / "tensorboard").exists()
    with pytest.raises(SystemExit):
        main(["runs", "rm", str(finished[0].path), "--root", str(tmp_path), "--yes"])
    assert [] == list(tmp_path.iterdir())
