"""Tuning files: what they may contain, and what is refused before any trial."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuning_files import FILE, tuning_file

from rlcl.config import unstructure
from rlcl.errors import ConfigError
from rlcl.study.tuning.definition import load_tuning
from rlcl.study.tuning.search_space import Choices, Range
from rlcl.study.tuning.tuner import check_tuning


def test_a_search_space_has_ranges_and_choices(tmp_path: Path) -> None:
    text = FILE + (
        "  learner.network.hidden: {narrow: [16], wide: [64, 64]}\n  learner.methods[0].strength: {uniform: [0, 1]}\n"
        "  budget.updates: {integer: [10, 30], step: 10}\n  encoder: [identity, standardize]\n"
    )
    tuning = load_tuning(tuning_file(tmp_path, text))
    domains = {parameter.name: parameter.domain for parameter in tuning.parameters}
    lr = domains["learner.optimizer.lr"]
    assert isinstance(lr, Range)
    assert (0.0001, 0.01, True, False) == (lr.low, lr.high, lr.log, lr.integer)
    hidden = domains["learner.network.hidden"]
    assert isinstance(hidden, Choices)
    assert ("narrow", "wide") == hidden.labels
    values = {
        "learner.optimizer.lr": 0.5,
        "learner.batch_size": "16",
        "learner.network.hidden": "wide",
        "learner.methods[0].strength": 0.25,
        "budget.updates": 20,
        "encoder": "standardize",
    }
    trial, winner = tuning.trial(values), tuning.winner(values)
    for experiment in (trial, winner):
        learner = unstructure(experiment)["learner"]
        assert (0.5, 16, [64, 64]) == (
            learner["optimizer"]["lr"],
            learner["batch_size"],
            learner["network"]["hidden"],
        )
        assert 20 == experiment.budget.updates
    assert ("small-trials", (1000,), 0.2, "validation") == (
        trial.name,
        trial.seeds,
        trial.validation,
        trial.evaluation.split,
    )
    assert ("small", (0, 1, 2, 3, 4), 0.0, "test") == (
        winner.name,
        winner.seeds,
        winner.validation,
        winner.evaluation.split,
    )
    assert trial.hash != winner.hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("search={}", "search: expected at least one parameter"),
        ("search={learner.lrr: [1]}", "learner.lrr: unknown key"),
        ("search={learner.optimizer.lr: {log: [0, 1]}}", "log: expected bounds above 0 on a logarithmic scale"),
        ("search={learner.optimizer.lr: {log: [1, 0.1]}}", "log: expected a lower bound below the upper one"),
        ("search={learner.optimizer.lr: {log: [0.1]}}", "log: expected [lowest, highest], two numbers, got [0.1]"),
        ("search={learner.optimizer.lr: {uniform: [-1, 1]}}", "learner.optimizer.lr: expected"),
        ("search={learner.batch_size: {uniform: [1, 8]}}", "learner.batch_size: expected"),
        ("search={learner.batch_size: {integer: [1.5, 8]}}", "integer: expected [lowest, highest], two whole numbers"),
        ("search={learner.batch_size: {integer: [1, 8], step: 0}}", "step: expected a step above 0 of at most 7"),
        ("search={learner.batch_size: {log: [1, 8], steps: 1}}", "expected one of uniform, log, integer, log_integer"),
        ("search={learner.batch_size: []}", "expected at least one value, got none"),
        ("search={'learner.methods[3].strength': [1]}", "learner.methods"),
        ("seeds=[0]", "report.seeds: seed 0 is used by the trials too; the report needs fresh seeds"),
        ("seeds=[]", "seeds: expected at least one seed"),
        ("base.seeds=[1]", "base.seeds: remove it; a search has its own seeds"),
        ("base.evaluation={split: test}", "base.evaluation.split: remove it; trials use validation data"),
        ("validation=0", "validation: expected"),
        ("sampler=cma_es", "sampler: cma_es supports numeric ranges only, not the choices of learner.batch_size"),
        ("sampler=grid", "search.learner.optimizer.lr: grid needs a list of values, or a range with a step"),
        ("sampler=tpee", "sampler: expected tpe, random, cma_es, gp, grid"),
        ("objective=[]", "objective: expected a metric or cost"),
        ("objective=[-minutes, minutes]", "objective: expected different quantities"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, change: str, message: str) -> None:
    text = FILE
    if change.startswith("search="):
        text, change = f"{FILE[: FILE.index('search:')]}search: {change.removeprefix('search=')}\n", "trials=9"
    with pytest.raises(ConfigError) as raised:
        load_tuning(tuning_file(tmp_path, text), [change])
    assert message in str(raised.value)


def test_pruning_and_cma_es_need_one_objective(tmp_path: Path) -> None:
    changes = ["objective=[accuracy.average, -minutes]", "pruner=asha", "sampler=cma_es"]
    with pytest.raises(ConfigError) as raised:
        load_tuning(tuning_file(tmp_path), changes)
    assert "pruner: asha supports one objective, got 2" in str(raised.value)
    assert "sampler: cma_es supports one objective, got 2" in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("objective=accuracy.averag", "objective: no metric or cost 'accuracy.averag'; did you mean accuracy.average"),
        ("objective=-accuracy.average", "higher values of accuracy.average are better; write accuracy.average"),
        ("objective=forgetting.chaudhry", "lower values of forgetting.chaudhry are better; write -forgetting.chaudhry"),
        ("objective=[accuracy.average, minutes]", "lower values of minutes are better; write -minutes"),
        ("first=6", "first: expected at most 5, the number of experiences, got 6"),
        ("validation=0.001", "validation: no row of experience 0 (digits 0-1) is held out; set a larger fraction"),
    ],
)
def test_objectives_and_the_protocol_are_checked_on_the_learner(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_tuning(load_tuning(tuning_file(tmp_path), [change]))
    assert message in str(raised.value)


def test_the_seeds_of_an_extended_experiment_are_replaced(tmp_path: Path) -> None:
    text = FILE[: FILE.index("base:")] + "base: {extends: quickstart}\n" + FILE[FILE.index("search:") :]
    tuning = load_tuning(tuning_file(tmp_path, text))
    assert ((1000,), (0, 1, 2, 3, 4)) == (
        tuning.trial(tuning.first_values).seeds,
        tuning.winner(tuning.first_values).seeds,
    )
