"""The page and ``rlcl compare`` say the same of the same runs: order, numbers, verdicts, and what they refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from comparable_runs import stream, write_learner, write_seed

from rlcl.commands import main
from rlcl.evaluation.measures import ACCURACY
from rlcl.evaluation.metric_meaning import MetricMeaning
from rlcl.evaluation.metrics import Metric
from rlcl.report.page.build import make_page
from rlcl.tracking.runs import find_runs

RECORDS = [
    {"run": "", "seed": 0, "step": step, "trained_on": 0, "evaluated_on": 0, "metric": "accuracy", "value": step / 20}
    for step in (5, 10)
]
Rows = list[dict[str, Any]]


def page_data(root: Path) -> Mapping[str, Rows]:
    """The rows of every figure of a page, by the name of its file."""
    text = make_page(find_runs(root), "all")
    found = {}
    for name, address in re.findall(r'<a href="(?=data:application/json)([^"]+)" download="([^"]+)\.json"', text):
        content = json.loads(unquote(name.partition(",")[2]))
        found[address] = [dict(zip(content["columns"], row, strict=True)) for row in content["rows"]]
    return found


def compared(capsys: pytest.CaptureFixture[str], root: Path, *options: str) -> tuple[Any, str]:
    """What ``rlcl compare`` prints as JSON, and its error."""
    with pytest.raises(SystemExit):
        main(["compare", str(root), "--json", *options])
    out, err = capsys.readouterr()
    return json.loads(out) if out else None, err.strip()


def one_stream(root: Path) -> None:
    write_learner(root, "naive", [0.3, 0.4, 0.3, 0.35], records=RECORDS)
    write_learner(root, "ewc", [0.8, 0.9, 0.85, 0.9], records=RECORDS)
    write_learner(root, "si", [0.5, 0.2, 0.7, 0.4], records=RECORDS)


def several_streams(root: Path) -> None:
    for data, shift in {"digits": 0.0, "iris": 0.1}.items():
        config = {"stream": stream(data)}
        write_learner(root, "naive", [0.3 + shift, 0.4], folder=data, config=config, records=RECORDS)
        write_learner(root, "ewc", [0.8, 0.7 + shift, 0.6], folder=data, config=config, records=RECORDS)
    write_learner(root, "si", [0.9], folder="digits", records=RECORDS)  # not on every stream


def other_units(root: Path) -> None:
    for name, value in {"dqn": 100.0, "ppo": 400.0}.items():
        for env, shift in {"CartPole-v1": 0, "Acrobot-v1": -500}.items():
            for seed in range(3):
                metrics = {"return.average": value + shift + 10 * seed}
                config = {"stream": {"type": "environments", "env": env}}
                records = [{**row, "metric": "return"} for row in RECORDS]
                write_seed(root, name, seed, metrics, folder=env, config=config, records=records,
                           summary={"measures": ["return"]})  # fmt: skip


def losses(root: Path) -> None:
    for name, values in {"a": [-0.5, -0.6, -0.7], "b": [-0.1, -0.2, -0.2]}.items():
        for seed, value in enumerate(values):
            records = [{**row, "metric": "squared_error"} for row in RECORDS]
            write_seed(root, name, seed, {"squared_error.average": value}, records=records,
                       summary={"measures": ["squared_error"]})  # fmt: skip


def with_failures(root: Path) -> None:
    one_stream(root)
    (root / "ewc/h/seed0/status.json").write_text('{"state": "failed", "step": 3, "error": "it diverged"}')
    (root / "ewc/h/seed1/records.jsonl").write_text("no JSON\n")
    (root / "si/h/seed2/manifest.json").unlink()
    (root / "si/h/seed3/summary.json").write_text("{")
    write_seed(root, "naive", 9, {"backward_transfer": 0.2}, records=RECORDS)


@pytest.mark.parametrize("write", [one_stream, several_streams, other_units, losses, with_failures])
def test_what_can_be_compared_is_ranked_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Callable[[Path], None]
) -> None:
    write(tmp_path)
    told, page = compared(capsys, tmp_path)[0], page_data(tmp_path)
    assert len(told["learners"]) > 1
    for table in ("learners", "aggregates", "comparisons", "profiles"):  # order, scores, intervals and verdicts
        assert told[table] == page.get(table, [])
    assert told["left_out"] == page.get("left-out", [])
    assert "not-ranked" not in page


def test_the_examples_hold_what_they_are_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    several_streams(tmp_path / "unit")
    assert ["ewc", "naive"] == [row["learner"] for row in compared(capsys, tmp_path / "unit")[0]["aggregates"]]
    with_failures(tmp_path / "failed")
    assert 4 == len(compared(capsys, tmp_path / "failed")[0]["left_out"])


def test_the_page_of_one_experiment_has_the_same_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_failures(tmp_path)
    (row,) = compared(capsys, tmp_path / "si")[0]["learners"]
    (found,) = page_data(tmp_path / "si")["metrics"]
    assert [row[key] for key in ("mean", "mean_low", "mean_high")] == pytest.approx(
        [found[key] for key in ("mean", "low", "high")], rel=1e-5
    )
    assert {"seed 0": 0.5, "seed 1": 0.2} == {key: value for key, value in found.items() if key.startswith("seed")}


def test_forgetting_is_ranked_as_by_the_metric_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, values in {"naive": [0.5, 0.6], "ewc": [0.1, 0.2]}.items():
        for seed, value in enumerate(values):
            metrics = {"accuracy.average": 0.5, "forgetting.chaudhry": value}
            write_seed(tmp_path, name, seed, metrics, records=RECORDS)
    found = page_data(tmp_path)["forgetting.chaudhry"]
    assert compared(capsys, tmp_path, "--metric", "forgetting.chaudhry")[0]["learners"] == found
    assert ["ewc", "naive"] == [row["learner"] for row in found]


@pytest.mark.parametrize(("better", "first"), [("higher", "b"), ("lower", "a")])
def test_a_metric_of_the_user_s_is_ranked_by_its_own_direction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], better: Any, first: str
) -> None:
    regret = MetricMeaning.of(Metric("regret", lambda _: None, better=better), "accuracy", ACCURACY).as_json
    for name, value in {"a": 1.0, "b": 2.0}.items():
        for seed in range(2):
            summary = {"names": ["gone.py:REGRET"], "meaning": {"regret": regret}}
            write_seed(tmp_path, name, seed, {"regret": value + seed / 10}, records=RECORDS, summary=summary)
    found = page_data(tmp_path)["regret"]
    assert compared(capsys, tmp_path, "--metric", "regret")[0]["learners"] == found
    assert first == found[0]["learner"]


REFUSED: Mapping[str, Any] = {
    "another budget": {"config": {"budget": {"epochs": 2}}},
    "another validation split": {"config": {"validation": 0.5}},
    "another split is evaluated": {"config": {"evaluation": {"split": "validation", "on": "all"}}},
    "other data": {"manifest": {"data": "others"}},
    "another version of the metrics": {"summary": {"metrics_version": 3}},
    "no common stream": {"config": {"stream": stream("iris")}},
    "another measure": {
        "summary": {"measures": ["inertia"], "metrics": {"inertia.average": 1}},
        "records": [{**row, "metric": "inertia"} for row in RECORDS],
    },
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_compare_refuses_is_shown_unranked_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    write_learner(tmp_path, "a", [0.1, 0.2], records=RECORDS)
    write_learner(tmp_path, "b", [0.2, 0.3], **{"records": RECORDS, **REFUSED[reason]})
    refused(tmp_path, capsys)


def test_runs_of_which_none_has_finished_are_shown_unranked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        write_learner(tmp_path, name, [0.1, 0.2], records=RECORDS)
    for path in tmp_path.glob("*/*/*/status.json"):
        path.write_text('{"state": "interrupted", "step": 3}')
    refused(tmp_path, capsys)


def test_a_seed_that_is_there_twice_is_shown_unranked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("h", "i"):
        write_learner(tmp_path, "a", [0.1], folder=folder, records=RECORDS)
    refused(tmp_path, capsys)


def refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Compare has no result and one reason, and the page has the same reason for every run, and still shows each."""
    told, error = compared(capsys, root)
    page = page_data(root)
    assert told is None
    rows = page["not-ranked"]
    assert {error.removeprefix("rlcl: ").replace("\nrlcl: ", "\n")} == {row["reason"] for row in rows}
    assert [str(run.path) for run in find_runs(root)] == [row["path"] for row in rows]
    assert {"learners", "aggregates", "comparisons", "profiles"}.isdisjoint(page)
    assert 2 == len({row["experiment"] for row in page["over-time"]})
    assert len(rows) == len(page["runs"])


SWEEP = {"stream.env": {"here": {}, "there": {}}, "agent": {"first": {}, "second": {}, "third": {}}}


def write_cell(root: Path, env: str, learner: str, *returns: float) -> str:
    """Seeds of one learner on one stream; the hash of its folder."""
    for seed, value in enumerate(returns):
        config = {"stream": {"type": "environments", "env": env}}
        records = [{**row, "metric": "return"} for row in RECORDS]
        write_seed(root, "suite", seed, {"return.average": value}, folder=f"{env}{learner}", config=config,
                   learner={"type": learner}, summary={"measures": ["return"]}, records=records)  # fmt: skip
    return f"{env}{learner}"


def write_suite(root: Path, **cells: dict[str, str]) -> None:
    listed = [
        {"hash": key, "run": f"{key}/seed{seed}", "labels": labels}
        for key, labels in cells.items()
        for seed in range(len(list((root / "suite" / key).iterdir())))
    ]
    content = {
        "name": "my suite",
        "statement": "Which is best?",
        "definition": {"sweep": SWEEP},
        "cells": [*listed, {"hash": "absent", "run": "absent/seed0", "labels": {}}],
    }
    (root / "suite" / "suite.json").write_text(json.dumps(content))


def test_cells_of_a_suite_are_named_by_its_axes(tmp_path: Path) -> None:
    cells = {
        write_cell(tmp_path, env, learner, 1.0, 2.0): {"stream.env": place, "agent": agent}
        for env, place in (("A", "here"), ("B", "there"))
        for learner, agent in (("ppo", "first"), ("dqn", "second"), ("sac", "third"))
    }
    write_suite(tmp_path, **cells)
    page = page_data(tmp_path / "suite")
    pairs = {(agent, place) for agent in ("first", "second", "third") for place in ("here", "there")}
    assert pairs == {(row["learner"], row["stream"]) for row in page["learners"]}
    assert {", ".join(pair) for pair in pairs} == {row["experiment"] for row in page["cost"]}


def test_the_page_of_a_suite_says_what_is_missing_and_leaves_out_what_is_no_cell(tmp_path: Path) -> None:
    cells = {write_cell(tmp_path, "A", learner, 1.0, 2.0): {"learner": learner} for learner in ("ppo", "dqn")}
    write_cell(tmp_path, "A", "sac", 3.0)
    write_suite(tmp_path, **cells)
    text = make_page(find_runs(tmp_path / "suite"), "suite")
    assert "<h1>my suite" in text
    assert "Which is best?" in text
    assert "1 of 5 cells of the suite is not finished." in text
    assert "Left out because the suite no longer contains them: 1 experiment." in text
    assert [Path(row["path"]).parent.name for row in page_data(tmp_path / "suite")["left-out"]] == ["Asac"]


@pytest.mark.parametrize("content", ["{", "[]", '{"cells": 3}', '{"cells": [1, {"hash": "Appo"}]}'])
def test_a_damaged_suite_is_a_folder_of_experiments(tmp_path: Path, content: str) -> None:
    write_cell(tmp_path, "A", "ppo", 1.0)
    write_cell(tmp_path, "A", "dqn", 2.0)
    (tmp_path / "suite" / "suite.json").write_text(content)
    assert "return.average" in make_page(find_runs(tmp_path / "suite"), "suite")
