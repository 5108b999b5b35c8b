"""What is set beside what, and what comes out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rlcl.report.page.groups import grouped
from run_folders import write_run

from rlcl.report.page.build import make_page
from rlcl.report.page.scores import comparisons
from rlcl.tracking.runs import find_runs

RECORD = {"run": "", "seed": 0, "step": 1, "trained_on": 0, "evaluated_on": 0, "metric": "return", "value": 1.0}


def write_cell(root: Path, stream: str, learner: str, *returns: float) -> str:
    """Seeds of one learner on one stream; the hash of its folder."""
    digest = f"{stream}{learner}"
    for seed, value in enumerate(returns):
        path = write_run(root, f"suite/{digest}/seed{seed}", {"return.average": value}, learner=learner)
        with (path / "config.yaml").open("a") as file:
            file.write(f"stream: {{type: environments, env: {stream}}}\n")
        (path / "records.jsonl").write_text(json.dumps(RECORD) + "\n")
    return digest


def write_suite(root: Path, **cells: dict[str, str]) -> None:
    listed = [{"hash": key, "labels": labels, "state": "finished"} for key, labels in cells.items()]
    content = {"name": "my suite", "statement": "Which is best?", "cells": [*listed, {"hash": "?", "state": "missing"}]}
    (root / "suite" / "suite.json").write_text(json.dumps(content))


def test_returns_are_scaled_within_each_stream_and_the_best_comes_first(tmp_path: Path) -> None:
    write_cell(tmp_path, "A", "ppo", 0.0, 10.0)
    write_cell(tmp_path, "A", "dqn", 5.0, 10.0, 7.0)
    write_cell(tmp_path, "B", "ppo", -100.0, -200.0)
    write_cell(tmp_path, "B", "dqn", -100.0, -150.0)
    write_cell(tmp_path, "B", "sac", -50.0)  # on one stream alone: no part of what is compared over both
    (found,) = comparisons(grouped(find_runs(tmp_path)))
    assert ("environments A", "environments B") == found.streams
    assert ("dqn", "ppo", "sac") == found.learners
    assert found.scaled
    assert [[0.0, 1.0], [1.0, 0.0]] == found.scores["ppo"].tolist()
    assert [[0.5, 1.0], [1.0, 0.5]] == found.scores["dqn"].tolist()
    assert "sac" not in found.scores


def test_on_one_stream_scores_stay_as_they_are(tmp_path: Path) -> None:
    write_cell(tmp_path, "A", "ppo", 0.0, 10.0)
    write_cell(tmp_path, "A", "dqn", 5.0)
    (found,) = comparisons(grouped(find_runs(tmp_path)))
    assert not found.scaled
    assert [[0.0], [10.0]] == found.scores["ppo"].tolist()


def test_the_same_learner_by_another_setting_of_the_run_is_another_row(tmp_path: Path) -> None:
    for digest, every in (("1", "experience"), ("2", "end")):
        path = write_run(tmp_path, f"suite/{digest}/seed0", {"return.average": 1.0})
        with (path / "config.yaml").open("a") as file:
            file.write(f"stream: {{type: single}}\nevaluation: {{every: {every}}}\n")
        (path / "records.jsonl").write_text(json.dumps(RECORD) + "\n")
    (found,) = comparisons(grouped(find_runs(tmp_path)))
    assert {"evaluation.every experience", "evaluation.every end"} == set(found.learners)


def test_cells_of_a_suite_are_named_by_its_axes(tmp_path: Path) -> None:
    cells = {
        write_cell(tmp_path, stream, learner, 1.0): {"place": place, "agent": agent}
        for stream, place in (("A", "here"), ("B", "there"))
        for learner, agent in (("ppo", "first"), ("dqn", "second"), ("sac", "third"))
    }
    write_suite(tmp_path, **cells)
    (found,) = comparisons(grouped(find_runs(tmp_path)))
    assert ("here", "there") == found.streams
    assert {"first", "second", "third"} == set(found.learners)


def test_the_page_of_a_suite_says_what_is_missing_and_leaves_out_what_is_no_cell(tmp_path: Path) -> None:
    cells = {write_cell(tmp_path, "A", learner, 1.0, 2.0): {"learner": learner} for learner in ("ppo", "dqn")}
    write_cell(tmp_path, "A", "sac", 3.0)
    write_suite(tmp_path, **cells)
    text = make_page(find_runs(tmp_path / "suite"), "suite")
    assert "<h1>my suite" in text
    assert "Which is best?" in text
    assert "1 of 3 cells of the suite is not finished." in text
    assert "Left out as of an earlier definition of the suite: 1 experiment." in text
    assert "sac" not in text


@pytest.mark.parametrize("content", ["{", "[]", '{"cells": 3}', '{"cells": [1, {"hash": "Appo"}]}'])
def test_a_damaged_suite_is_a_folder_of_experiments(tmp_path: Path, content: str) -> None:
    write_cell(tmp_path, "A", "ppo", 1.0)
    write_cell(tmp_path, "A", "dqn", 2.0)
    (tmp_path / "suite" / "suite.json").write_text(content)
    assert "return.average" in make_page(find_runs(tmp_path / "suite"), "suite")
