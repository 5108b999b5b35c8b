"""Results of a search: history, effects with intervals, importance, by hand-computed numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rlcl.comparison.search import SearchParameter, SearchResults, SearchTrial, read_search

LR = SearchParameter("learner.optimizer.lr", low=0.001, high=0.1, log=True)
SIZE = SearchParameter("learner.batch_size", labels=("8", "16"))
LAYERS = SearchParameter("layers", low=1, high=4, integer=True)


def results(*rows: tuple[Any, ...], objective: str = "accuracy.average") -> SearchResults:
    """Rows of (learning rate, batch size, layers, value); None for a trial without a value."""
    trials = tuple(
        SearchTrial(
            number,
            "pruned" if value is None else "complete",
            () if value is None else (value,),
            {LR.name: lr, SIZE.name: size, LAYERS.name: layers},
        )
        for number, (lr, size, layers, value) in enumerate(rows)
    )
    return SearchResults((objective,), "tpe", "none", (LR, SIZE, LAYERS), trials, 1, (1,), "hash", {})


FOUR = ((0.001, "8", 1, 0.2), (0.01, "16", 2, 0.8), (0.01, "8", 1, None), (0.1, "16", 1, 0.6), (0.05, "8", 2, 0.4))


def test_places_on_the_axes() -> None:
    assert pytest.approx([0.0, 0.5, 1.0]) == [LR.place(v) for v in (0.001, 0.01, 0.1)]
    assert [0.25, 0.75] == [SIZE.place(v) for v in ("8", "16")]
    assert pytest.approx(2 / 3) == LAYERS.place(3)
    assert "lr" == LR.label


def test_the_best_value_so_far_leaves_out_what_was_pruned() -> None:
    assert [0.2, 0.8, 0.8, 0.8] == results(*FOUR).best_so_far
    assert [0.2, 0.2, 0.2, 0.2] == results(*FOUR, objective="-seconds").best_so_far


def test_the_effects_are_means_with_student_intervals() -> None:
    found = {(row.parameter.label, row.values): row for row in results(*FOUR).effects()}
    # Two values 0.2 and 0.4: mean 0.3, standard error 0.1, and t(1) at 0.975 is 12.706.
    eight = found["batch_size", "8"].summary
    assert pytest.approx((0.3, 0.3 - 1.2706, 0.3 + 1.2706, 2), abs=1e-4) == (
        eight.mean,
        eight.low,
        eight.high,
        eight.seeds,
    )
    assert 0.8 == found["batch_size", "16"].best
    assert (0.2, 0.6) == found["layers", "1"].points
    assert "0.001 to 0.1" in {values for name, values in found if name == "lr"}  # too few trials for several parts


def test_a_range_is_divided_into_parts_with_equal_numbers_of_trials() -> None:
    rows = [(0.001 * 1.5**k, "8", 1, 0.1 * k) for k in range(8)]
    parts = [row for row in results(*reversed(rows)).effects() if row.parameter is LR]
    assert [4, 4] == [row.summary.seeds for row in parts]
    assert pytest.approx(0.15) == parts[0].summary.mean
    lower = [row for row in results(*rows, objective="-seconds").effects() if row.parameter is LR]
    assert [0.0, pytest.approx(0.4)] == [row.best for row in lower]


def test_the_importance_finds_the_parameter_that_matters() -> None:
    rows = [(0.001 * 1.3**k, ("8", "16")[k % 2], 1 + k % 3, math.sin(k)) for k in range(16)]
    by_size = [(lr, size, layers, (1.0 if size == "16" else 0.0) + 0.001 * value) for lr, size, layers, value in rows]
    importance = results(*by_size).importance()
    assert importance is not None
    assert SIZE.name == next(iter(importance))
    assert importance[SIZE.name] > 0.9
    assert pytest.approx(1) == sum(importance.values())
    assert results(*FOUR[:3]).importance() is None
    assert results(*((lr, size, layers, 1.0) for lr, size, layers, _ in rows)).importance() is None


def test_a_search_is_read_from_its_file(tmp_path: Path) -> None:
    assert read_search(tmp_path) is None
    trial = {"number": 0, "state": "complete", "values": [0.5], "parameters": {"a": 8}, "seconds": 1.0}
    content: dict[str, Any] = {
        "objective": ["accuracy.average"],
        "sampler": "tpe",
        "pruner": "none",
        "parameters": [{"name": "a", "labels": [8, 16]}],
        "trials": [trial, {"number": 1, "state": "fail", "values": None, "parameters": {}}],
        "front": [0],
        "winner": {"number": 0, "parameters": {"a": 8}, "hash": "abc"},
        "protocol": {"tuning_seeds": [1000]},
    }
    (tmp_path / "tuning.json").write_text(json.dumps(content))
    search = read_search(tmp_path)
    assert search is not None
    assert (("8", "16"), (0.5,)) == (search.parameters[0].labels, search.complete[0].values)
    (tmp_path / "tuning.json").write_text(json.dumps({**content, "trials": [{"number": "x"}]}))
    assert read_search(tmp_path) is None
