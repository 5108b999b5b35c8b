"""Published protocols: the verdict by hand, the files, and a small one from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rlcl.commands import main
from rlcl.errors import ConfigError, RlclError
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import load_experiment
from rlcl.reproduction.protocols import load_protocol, protocol_files, protocols_folder
from rlcl.reproduction.reproduce import kind_of_row, markdown, read_results, reproduce, write_results
from rlcl.reproduction.targets.mean import Mean
from rlcl.reproduction.types import ReproductionRun, ResultRow, SideResult, TargetWithFigure
from rlcl.types import Record

QUIET = Console(quiet=True)
FILES = sorted(protocols_folder().glob("*.yaml"))
MEANS = [path for path in FILES if path.stem.split("-")[0] in ("buzzega2020", "vandeven2022")]

SMALL = """\
name: small
seeds: [0, 1]
stream: {type: class_incremental, data: {type: digits}, experiences: 2}
encoder: {type: scale, maximum: 16}
learner: {type: classifier, network: {type: mlp, hidden: [16]}, batch_size: 32}
budget: {epochs: 1}
target: {value: 0.5, error: 0.02, runs: 4, source: "nobody, table 0"}
"""


def target(**changes: object) -> Mean:
    return Mean(**{"value": 0.8, "source": "a paper", **changes})  # type: ignore[arg-type]


def came_to(*values: float, **changes: object) -> ResultRow:
    """What a protocol of one experience would come to."""
    runs = [ReproductionRun(outcome=Outcome((Record("", 0, 1, 0, 0, "accuracy", v),), ("accuracy",))) for v in values]
    return target(**changes).judge({"ours": SideResult(experiment=load_experiment("quickstart"), runs=tuple(runs))})


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and everything printed."""
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", *map(str, arguments)])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


# The verdict.


def test_a_deviation_becomes_a_standard_error_by_the_number_of_runs() -> None:
    assert 0.01 == target(error=0.02, runs=4).standard_error
    assert 0.02 == target(error=0.02, error_is="standard error").standard_error
    assert 0.0 == target().standard_error


def test_what_is_allowed_is_two_standard_errors_of_the_difference() -> None:
    of_two = target(error=0.03, error_is="standard error")
    assert pytest.approx(2 * 0.05) == of_two.allowed(0.04)  # 3, 4, 5


def test_what_is_allowed_is_never_less_than_the_tolerance() -> None:
    assert 0.015 == target(error=0.003, error_is="standard error").allowed(0.004)
    assert 0.002 == target(tolerance=0.002).allowed(0.0)


@pytest.mark.parametrize(("ours", "verdict"), [(0.8149, "reproduced"), (0.8151, "differs"), (0.7849, "differs")])
def test_a_single_seed_is_held_against_the_tolerance(ours: float, verdict: str) -> None:
    assert verdict == came_to(ours)["verdict"]


def test_seeds_that_scatter_allow_more() -> None:
    found = came_to(0.80, 0.84, 0.88)  # mean .84, deviation .04, standard error .04 / sqrt 3
    assert pytest.approx(0.04) == found["difference"]
    assert pytest.approx(2 * 0.04 / 3**0.5) == found["allowed"]
    assert "reproduced" == found["verdict"]
    assert "differs" == came_to(0.839, 0.84, 0.841)["verdict"]


def test_a_doubtful_number_is_not_judged() -> None:
    assert "not judged" == came_to(0.1, decides=False)["verdict"]


# The files.


def test_there_are_protocols_of_both_papers() -> None:
    assert {"buzzega2020", "vandeven2022"} == {path.stem.split("-")[0] for path in MEANS}
    assert len(MEANS) >= 28


@pytest.mark.parametrize("path", MEANS, ids=lambda path: path.stem)
def test_a_protocol_is_whole(path: Path) -> None:
    protocol = load_protocol(path)
    assert {"ours": path.stem} == {side: experiment.name for side, experiment in protocol.sides.items()}
    assert len(protocol.seeds) >= 3
    assert isinstance(protocol.target, Mean)
    assert 0 < protocol.target.value < 1
    assert 0.015 == protocol.target.tolerance


def test_protocols_differ_in_what_decides_their_records() -> None:
    hashes = [experiment.hash for path in FILES for experiment in load_protocol(path).sides.values()]
    assert len(set(hashes)) == len(hashes)


def test_names_and_patterns_choose_files() -> None:
    assert ["vandeven2022-class-lwf", "vandeven2022-task-lwf"] == [
        p.stem for p in protocol_files(["vandeven2022-*-lwf"])
    ]
    assert [path.stem for path in FILES] == [p.stem for p in protocol_files()]
    assert 1 == len(protocol_files(["vandeven2022-task-si", "vandeven2022-task-s?"]))


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no published protocol 'vandeven2022-task-lwff'; did you mean .*task-lwf"):
        protocol_files(["vandeven2022-task-lwff"])


BAD = {
    "no target": (SMALL.partition("target:")[0], ["target: expected a mapping, got null"]),
    "no value": (SMALL.replace("value: 0.5, ", ""), ["small.yaml:7: target.value: missing"]),
    "unknown key": (
        SMALL.replace("runs: 4", "run: 4, runs: 4"),
        ["small.yaml:7: target.run: unknown key; did you mean runs"],
    ),
    "no runs": (SMALL.replace("runs: 4, ", ""), ["target.error: a deviation needs the number of runs"]),
    "unknown metric": (
        SMALL.replace("value: 0.5", "value: 0.5, metric: accuracy.averag"),
        ["small.yaml:7: target.metric: no metric 'accuracy.averag'; did you mean accuracy.average"],
    ),
    "another kind": (
        SMALL.replace("value: 0.5", "type: meen, value: 0.5"),
        ["small.yaml:7: target.type: expected one of mean, peer, order, claims, got 'meen'; did you mean mean"],
    ),
    "both parts": (
        SMALL.replace("value: 0.5", "value: high").replace("epochs: 1", "epochs: 0"),
        ["small.yaml:6: budget", "small.yaml:7: target.value: expected a number, got 'high'"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_told_by_line_and_key(case: str, tmp_path: Path) -> None:
    text, expected = BAD[case]
    path = tmp_path / "small.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_protocol(path)
    assert len(expected) == len(refused.value.problems)
    assert all(part in problem for part, problem in zip(expected, refused.value.problems, strict=True))


# Runs.


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_a_protocol_runs_is_judged_and_is_not_repeated(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, results = small.parent, small.parent / "results" / "published.json"
    arguments = (small, "--root", folder / "runs", "--results", results)
    status, printed = call(capsys, *arguments)
    row = json.loads(results.read_text())["rows"]["small"]
    assert sum(row["values"]) / 2 == row["ours"]
    assert pytest.approx(row["ours"] - 0.5) == row["difference"]
    assert [0, 1] == row["seeds"]
    assert pytest.approx(row["ours"], abs=1e-6) == np.mean(row["R"][-1])
    assert pytest.approx(row["ours"], abs=1e-6) == row["metrics"]["accuracy.average"]
    assert 2 == len(row["seconds"])
    assert all(seconds > 0 for seconds in row["seconds"])
    assert row["verdict"] in printed
    assert int(row["verdict"] == "differs") == status
    assert (
        f"| `small` | `accuracy.average` | 0.5000 ± 0.0200 | {row['ours']:.4f} |"
        in results.with_suffix(".md").read_text()
    )
    records = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*/*/records.jsonl")}
    assert 2 == len(records)
    call(capsys, *arguments)
    assert records == {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*/*/records.jsonl")}
    assert row == json.loads(results.read_text())["rows"]["small"]


def test_a_number_that_differs_is_the_exit_status(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small.write_text(SMALL.replace("value: 0.5", "value: 0.0").replace("seeds: [0, 1]", "seeds: [0]"))
    status, printed = call(capsys, small, "--root", small.parent / "runs", "--results", small.parent / "r.json")
    assert (1, True) == (status, "differs" in printed)


def test_seeds_can_be_fewer(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, small, "--seeds", 1, "--root", small.parent / "runs", "--results", small.parent / "r.json", "-q")
    row = json.loads((small.parent / "r.json").read_text())["rows"]["small"]
    assert [0] == row["seeds"]
    assert row["interval"] is None


def test_rows_of_other_protocols_stay(small: Path) -> None:
    results = small.parent / "r.json"
    write_results(results, {"other": came_to(0.8)})
    write_results(results, {"small": came_to(0.9)})
    assert ["other", "small"] == list(read_results(results))


def test_what_is_committed_is_what_would_be_written() -> None:
    results = protocols_folder().parent / "results" / "published.json"
    rows = read_results(results)
    assert {path.stem for path in MEANS} <= set(rows)
    assert results.with_suffix(".md").read_text() == markdown(rows, "published")
    assert "reproduced" == rows["dohare2024-slowly-changing"]["verdict"]
    for name, row in rows.items():
        drawn = (results.parent / "published" / f"{name}.svg").exists()
        assert issubclass(kind_of_row(row), TargetWithFigure) == drawn


def test_a_file_of_something_else_is_not_replaced(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = small.parent / "mine.json"
    mine.write_text('{"mine": 1}')
    status, printed = call(capsys, small, "--root", small.parent / "runs", "--results", mine)
    assert 1 == status
    assert "holds no results of rlcl reproduce; name another file with --results" in printed
    assert '{"mine": 1}' == mine.read_text()
    assert not (small.parent / "runs").exists()


def test_a_metric_that_the_runs_do_not_define_is_told(small: Path) -> None:
    small.write_text(SMALL.replace("value: 0.5", "value: 0.5, metric: return.average"))
    with pytest.raises(RlclError, match=r"small: target.metric: .*seed0 has no return.average; its metrics: accuracy"):
        reproduce(load_protocol(small), small.parent / "runs", QUIET)


def test_interrupted_it_goes_on_to_the_same_row(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small.write_text(SMALL.replace("epochs: 1", "epochs: 20"))
    folder = small.parent
    expected = dict(reproduce(load_protocol(small), folder / "through", QUIET))
    arguments = [str(small), "--root", str(folder / "runs"), "--results", str(folder / "r.json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "rlcl", "reproduce", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None:  # until the first run has said something
        events = list(folder.glob("runs/*/*/seed0/events.jsonl"))
        if events and events[0].stat().st_size:
            break
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert 130 == process.returncode, printed
    assert "run the same command to resume from this step" in printed
    assert not (folder / "r.json").exists()
    _, printed = call(capsys, *arguments)
    assert "resuming " in printed
    actual = json.loads((folder / "r.json").read_text())["rows"]["small"]
    assert len(expected.pop("seconds")) == len(actual.pop("seconds"))
    assert expected == actual


def test_protocols_are_listed_with_their_targets(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = call(capsys, "--list", small, "buzzega2020-split-rehearsal-500")
    assert 0 == status
    assert "0.8612 ± 0.0189" in printed
    assert "nobody, table 0" in printed
    assert not (small.parent / "runs").exists()
