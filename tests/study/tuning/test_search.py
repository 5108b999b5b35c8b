"""Searches: their protocol, and that interrupted, parallel and pruned ones end as they should."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tuning_files import FILE, tuning_file

from rlcl.commands import main
from rlcl.errors import RunFolderError
from rlcl.launch.build import make_stream
from rlcl.report.page.build import make_page
from rlcl.study.tuning.definition import load_tuning
from rlcl.study.tuning.study import Journal
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import find_runs


def command(file: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "rlcl", "tune", str(file), "--root", str(file.parent / "runs"), *arguments]


def tune(file: Path, *arguments: str) -> str:
    done = subprocess.run(command(file, *arguments), capture_output=True, text=True, check=False, timeout=200)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def trials(folder: Path) -> Sequence[Mapping[str, Any]]:
    """The parameters and values of all trials, without their times."""
    rows = read_json(folder / "runs" / "small" / "tuning.json")["trials"]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_trials_see_validation_data_of_the_first_experiences_and_the_winner_fresh_seeds(tmp_path: Path) -> None:
    printed = tune(tuning_file(tmp_path), "trials=3", "first=2", "report.seeds=2")
    assert "3 trials: 3 complete; accuracy.average from " in printed
    assert "2 runs of the winner with fresh seeds on test data" in printed
    for run in find_runs(tmp_path / "runs" / "small-trials"):
        assert 1000 == run.seed
        assert 2 == len(run.summary["R"]) == len(run.summary["experiences"])
        assert "validation" == run.config["evaluation"]["split"]
    winners = find_runs(tmp_path / "runs" / "small")
    assert [0, 1] == [run.seed for run in winners]
    assert all(5 == len(run.summary["R"]) for run in winners)
    record = read_json(tmp_path / "runs" / "small" / "tuning.json")
    assert {"tuning_seeds": [1000], "report_seeds": [0, 1], "first": 2, "validation": 0.2} == {
        key: record["protocol"][key] for key in ("tuning_seeds", "report_seeds", "first", "validation")
    }
    best = max(record["trials"], key=lambda trial: trial["values"][0])
    assert best["number"] == record["winner"]["number"]
    assert winners[0].path.parent.name == record["winner"]["hash"]
    text = winners[0].config
    assert str(text["learner"]["batch_size"]) == record["winner"]["parameters"]["learner.batch_size"]
    page = make_page(winners, "")
    for shown in ("3 trials by ", "The winner is trial ", "History", "Parallel coordinates", "Sensitivity"):
        assert shown in page
    (other,) = find_runs(tmp_path / "runs" / "small-trials")[:1]
    assert "Parallel coordinates" not in make_page([other], "")


SMALL_POLICY = """
name: policy
base:
  stream: {type: environments, env: CartPole-v1}
  learner: {type: ppo, n_steps: 32, network: {type: mlp, hidden: [8]}}
  budget: {env_steps: 64}
  evaluation: {episodes: 1}
search: {learner.epochs: [1, 2]}
objective: return.average
trials: 2
report: {seeds: 1}
"""


def test_a_search_in_an_environment_claims_no_held_out_data(tmp_path: Path) -> None:
    file = tuning_file(tmp_path, SMALL_POLICY)
    printed = tune(file, "--workers", "1")
    assert re.search(r"^evaluated on +the environments, seed 1000$", printed, re.MULTILINE)
    assert "1 run of the winner with a fresh seed in " in printed
    protocol = read_json(tmp_path / "runs" / "policy" / "tuning.json")["protocol"]
    assert {"validation": None, "trials_evaluated_on": "environments", "winner_evaluated_on": "environments"} == {
        key: protocol[key] for key in ("validation", "trials_evaluated_on", "winner_evaluated_on")
    }
    page = make_page(find_runs(tmp_path / "runs" / "policy"), "")
    assert "evaluated with the tuning seed 1000." in page
    assert "validation data" not in page


def test_no_trial_can_read_test_data(tmp_path: Path) -> None:
    tuning = load_tuning(tuning_file(tmp_path), ["first=2"])
    stream = make_stream(tuning.trial(tuning.first_values), 1000)
    assert 2 == len(stream.evaluated)
    for experience in (*stream, *stream.evaluated):
        assert experience.test is experience.validation
    complete = make_stream(tuning.winner(tuning.first_values), 0)
    held_out = {tuple(row.tolist()) for e in stream for row in e.arrays.inputs[:].reshape(-1, 64)}
    tests = {tuple(row.tolist()) for e in complete for row in e.test.inputs[:].reshape(-1, 64)}  # type: ignore[union-attr]
    assert not held_out & tests


def test_an_interrupted_search_proposes_and_finds_the_same_as_one_that_is_not(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        tuning_file(tmp_path / name, FILE.replace("updates: 10", "updates: 60"))
    options = ("trials=6", "report.seeds=1", "--workers", "1")
    tune(tmp_path / "whole" / "small.yaml", *options)
    process = subprocess.Popen(command(tmp_path / "killed" / "small.yaml", *options), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("2/6"):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    printed = tune(tmp_path / "killed" / "small.yaml", *options)
    assert "resuming after " in printed
    assert trials(tmp_path / "whole") == trials(tmp_path / "killed")


@pytest.mark.parametrize("stored", [0, 1, 2])
@pytest.mark.parametrize("sampler", ["tpe", "random", "cma_es", "gp", "grid"])
def test_a_trial_of_a_process_that_was_killed_while_it_proposed_values_is_completed(
    sampler: str, stored: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna stores the parameters one by one; ``stored`` of three are in the journal when the process ends."""
    lr = "{uniform: [0.1, 1], step: 0.1}" if sampler == "cma_es" else "[0.1, 0.01, 0.001]"  # it takes no choices
    text = FILE[: FILE.index("search:")] + (
        f"search:\n  learner.batch_size: {{integer: [8, 64], step: 8}}\n  learner.optimizer.lr: {lr}\n"
        "  learner.methods[0].strength: {uniform: [0, 1], step: 0.1}\n"
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    found = []
    for folder in (whole, killed):
        folder.mkdir()
        made = Journal(load_tuning(tuning_file(folder, text), [f"sampler={sampler}"]), folder)
        for value in range(12):  # TPE and GP propose by their models afterwards
            trial = made.ask()
            assert trial is not None
            made.complete(trial, [value % 5])
        found.append(made)
    expected = found[0].ask()
    assert expected is not None
    storage, left = found[1]._study._storage, iter(range(stored))
    store = storage.set_trial_param

    def store_some(*arguments: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        store(*arguments)

    monkeypatch.setattr(storage, "set_trial_param", store_some)
    with pytest.raises(KeyboardInterrupt):
        found[1].ask()
    again = Journal(load_tuning(killed / "small.yaml", [f"sampler={sampler}"]), killed)
    (frozen,) = again.running()
    assert stored == len(frozen.params)
    adopted = again.adopt(frozen)
    assert (expected.number, expected.values) == (adopted.number, adopted.values)
    assert expected.values == again.running()[0].params


def test_two_processes_share_the_trials(tmp_path: Path) -> None:
    file = tuning_file(tmp_path)
    options = ("trials=8", "report.seeds=2", "--workers", "1")
    both = [subprocess.Popen(command(file, *options), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=200)[0] for process in both]
    assert [0, 0] == [process.returncode for process in both], outputs
    assert [*range(8)] == [trial["number"] for trial in trials(tmp_path)]
    assert {"complete"} == {trial["state"] for trial in trials(tmp_path)}
    ran = [sum(" trial " in line for line in output.splitlines()) for output in outputs]
    assert sum(ran) >= 8
    assert not (tmp_path / "runs" / "small-trials" / "claims").exists()


def test_a_trial_that_is_worse_than_others_is_stopped(tmp_path: Path) -> None:
    text = FILE[: FILE.index("search:")].replace("updates: 10", "updates: 800") + (
        "search:\n  learner.optimizer.lr: [0.01, 0.009, 0.008, 1e-9]\n  learner.batch_size: {integer: [8, 16]}\n"
    )
    printed = tune(tuning_file(tmp_path, text), "trials=14", "sampler=random", "pruner=median", "report.seeds=1")
    states = {trial["number"]: trial["state"] for trial in trials(tmp_path)}
    pruned = [trial for trial in trials(tmp_path) if trial["state"] == "pruned"]
    assert pruned, states
    assert {"1e-09"} == {trial["parameters"]["learner.optimizer.lr"] for trial in pruned}
    assert f"{len(pruned)} pruned" in printed


def test_ctrl_c_is_resumed(tmp_path: Path) -> None:
    file = tuning_file(tmp_path, FILE.replace("updates: 10", "updates: 3000"))
    process = subprocess.Popen(
        command(file, "trials=2", "report.seeds=1"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until = time.monotonic() + 60
    while not list((tmp_path / "runs").glob("small-trials/*/seed*/events.jsonl")):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert 130 == process.returncode, printed
    assert "run the same command to resume" in printed
    assert "2 trials: 2 complete" in tune(file, "trials=2", "report.seeds=1")


def test_trials_that_all_fail_end_the_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = FILE[: FILE.index("search:")] + "search:\n  learner.optimizer.lr: {uniform: [1e18, 1e19]}\n"
    with pytest.raises(SystemExit) as ended:
        main(["tune", str(tuning_file(tmp_path, text)), "--root", str(tmp_path / "runs")])
    assert 1 == ended.value.code
    message = capsys.readouterr().err
    assert "the first 5 trials failed: " in message
    assert str(tmp_path / "runs" / "small-trials" / "logs") in message


def test_another_search_in_the_folder_is_refused(tmp_path: Path) -> None:
    file = tuning_file(tmp_path)
    (tmp_path / "trials").mkdir()
    Journal(load_tuning(file), tmp_path / "trials")
    Journal(load_tuning(file, ["trials=99", "sampler=random"]), tmp_path / "trials")
    with pytest.raises(RunFolderError, match="belongs to a search with another base, search space, objective"):
        Journal(load_tuning(file, ["base.budget.updates=11"]), tmp_path / "trials")


def journal(folder: Path, objectives: str, *values: Sequence[float]) -> Journal:
    """A journal with complete trials."""
    made = Journal(load_tuning(tuning_file(folder), [f"objective={objectives}", f"trials={len(values)}"]), folder)
    for row in values:
        trial = made.ask()
        assert trial is not None
        made.complete(trial, row)
    return made


def test_the_winner_and_the_pareto_front_by_hand(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    assert 1 == journal(tmp_path / "a", "accuracy.average", [0.5], [0.9], [0.9], [0.1]).best().number
    assert 3 == journal(tmp_path / "b", "-forgetting.chaudhry", [0.5], [0.9], [0.9], [0.1]).best().number
    both = journal(tmp_path / "c", "[accuracy.average, -minutes]", [0.9, 5], [0.8, 1], [0.8, 2], [0.95, 9], [0.9, 6])
    assert [0, 1, 3] == [trial.number for trial in both.front()]
    assert 3 == both.best().number
    assert both.ask() is None


@pytest.mark.parametrize("sampler", ["tpe", "random", "cma_es", "gp", "grid"])
def test_every_sampler_proposes_values_of_the_space(tmp_path: Path, sampler: str) -> None:
    text = FILE[: FILE.index("search:")] + (
        "search:\n  learner.optimizer.lr: {uniform: [0.1, 0.5], step: 0.1}\n"
        "  budget.updates: {integer: [10, 30], step: 10}\n"
    )
    tuning = load_tuning(tuning_file(tmp_path, text), [f"sampler={sampler}", "trials=15"])
    made = Journal(tuning, tmp_path)
    found = []
    while (trial := made.ask()) is not None:
        found.append((round(trial.values["learner.optimizer.lr"], 6), trial.values["budget.updates"]))
        tuning.trial(trial.values)
        made.complete(trial, [found[-1][0]])
    assert 15 == len(found)
    assert {*found} <= {(lr / 10, updates) for lr in range(1, 6) for updates in (10, 20, 30)}
    if sampler == "grid":
        assert 15 == len({*found})


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tune", "--help"])
    printed = capsys.readouterr().out
    assert "learner.optimizer.lr: {log:" in printed
