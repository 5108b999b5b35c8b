"""The verdict in the files of a run, of an experiment, and on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlcl.commands import main
from rlcl.experiment import Experiment, load_experiment
from rlcl.launch.seeds import run_experiment
from rlcl.objective import objective_of
from rlcl.tracking.runs import find_runs

QUIET = Console(quiet=True)
ASKED = """
objective:
  success: ["accuracy.average >= 0.05", "accuracy[each] >= -9 (interval)"]
  constraints: {minutes: 10, memory_mib: 100_000, parameters: 600, latency_ms: 1000}
"""


def small(folder: Path, objective: str = ASKED, *changes: str) -> Experiment:
    path = folder / "small.yaml"
    path.write_text(
        "name: small\nstream: {type: class_incremental, experiences: 2}\n"
        "learner: {type: classifier, network: {type: mlp, hidden: [8]}, batch_size: 64}\n"
        f"budget: {{epochs: 1}}\nseeds: [0, 1]\n{objective}"
    )
    return load_experiment(path, changes)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def said(verdict: Any) -> list[str]:
    return [each["said"] for each in verdict["judgements"]]


def test_each_summary_and_the_seeds_together_carry_the_verdict(tmp_path: Path) -> None:
    first, second = run_experiment(small(tmp_path), tmp_path / "runs", QUIET)
    summary = read(first.path / "summary.json")
    assert ["met", "undecided", "met", "met", "not met", "met"] == said(summary["verdict"])  # 610 parameters
    assert summary["peak_memory_bytes"] > 2**20
    over = read(first.path.parent / "verdict.json")
    assert ["met", "met", "met", "met", "not met", "met"] == said(over)
    assert ("not met", 2) == (over["said"], over["seeds"])
    mean = (first.outcome.metrics["accuracy.average"] + second.outcome.metrics["accuracy.average"]) / 2
    assert pytest.approx(mean) == over["judgements"][0]["value"]


def test_an_objective_changes_neither_hash_nor_records(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    plain, asked = small(tmp_path / "without", ""), small(tmp_path)
    assert plain.hash == asked.hash
    found = run_experiment(plain, tmp_path / "a", QUIET)
    assert [f.outcome.records for f in found] == [
        f.outcome.records for f in run_experiment(asked, tmp_path / "b", QUIET)
    ]
    summary = read(found[0].path / "summary.json")
    assert not {"verdict", "latency_ms"} & summary.keys()
    assert not (found[0].path.parent / "verdict.json").exists()


def test_another_objective_is_judged_without_another_run(tmp_path: Path) -> None:
    run_experiment(small(tmp_path, ""), tmp_path / "runs", QUIET)
    first, _ = run_experiment(small(tmp_path), tmp_path / "runs", QUIET)
    assert first.repeated
    over = read(first.path.parent / "verdict.json")
    assert ["met", "met", "met", "met", "not met", "undecided"] == said(over)  # no prediction was timed
    (run, _) = find_runs(first.path.parent)
    assert 600 == objective_of(run.config).constraints.parameters
    again, _ = run_experiment(small(tmp_path, ""), tmp_path / "runs", QUIET)
    assert "verdict" not in read(again.path / "summary.json")
    assert not (again.path.parent / "verdict.json").exists()


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), " ".join((printed.out + printed.err).split())


def test_the_verdict_ends_a_run_and_stands_in_what_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path)
    status, out = call(capsys, "run", tmp_path / "small.yaml", "--root", tmp_path / "runs")
    assert status == 4
    assert "objective: not met" in out
    status, told = call(capsys, "export", "small", "--root", tmp_path / "runs", "--to", tmp_path / "bundle")
    assert status == 0
    assert "objective not met: parameters <= 600" in told
    assert "parameters <= 600 │ 610 │ not met" in out
    status, out = call(capsys, "runs", "show", "small/*/seed1", "--root", tmp_path / "runs")
    assert status == 0
    assert "accuracy[each] >= -9 (interval)" in out
    assert "one seed has no interval" in out


def test_check_refuses_what_cannot_be_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path)
    status, out = call(capsys, "check", tmp_path / "small.yaml")
    assert status == 2
    assert "objective.constraints.parameters: parameters <= 600: about 610 expected; make learner.network small" in out
    assert "ready to run" not in out
    status, out = call(capsys, "check", tmp_path / "small.yaml", "objective.constraints.parameters=610")
    assert status == 0
    assert "parameters <= 610 about 610 expected" in out
    assert "ready to run" in out
