"""Protocols of an order: the verdict by hand, the file, and a small one from end to end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from rlcl.commands import main
from rlcl.errors import ConfigError, Problem
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import load_experiment
from rlcl.reproduction.protocols import load_protocol, protocols_folder
from rlcl.reproduction.targets.order import Order
from rlcl.reproduction.types import ReproductionRun, ResultRow, SideResult
from rlcl.types import Record

EXPERIMENT = load_experiment("quickstart")
SMALL = """\
name: small
seeds: [5, 6]
together: true
stream: {type: slowly_changing_regression, examples: 400, period: 100}
learner:
  type: regressor
  network: {type: mlp, hidden: [5]}
  optimizer: {type: sgd, lr: 0.01}
  batch_size: 1
budget: {epochs: 1}
evaluation: {every: end, before: false, online: true, probes: [dead_units]}
sides:
  plain: {}
  slow: {learner: {optimizer: {lr: 1e-5}}}
target:
  type: order
  order: [[plain], [slow]]
  source: "nobody, figure 0"
"""


def run(*online: float, metric: str = "squared_error.online", dead: float | None = None) -> ReproductionRun:
    """A run with an online measure of each experience."""
    records = [Record("", 0, 10 * (t + 1), t, t, metric, value) for t, value in enumerate(online)]
    if dead is not None:
        records.append(Record("", 0, 10 * len(online), len(online) - 1, 0, "dead_units", dead))
    return ReproductionRun(outcome=Outcome(tuple(records), (metric.partition(".")[0],)), seconds=2.0)


def judged(
    sides: Mapping[str, Sequence[Sequence[float]]],
    order: Sequence[Sequence[str]],
    metric: str = "squared_error.online",
    worsens: Sequence[str] = (),
) -> ResultRow:
    """One experience of four is the beginning, and one is the end."""
    target = Order(
        order=tuple(map(tuple, order)),
        metric=metric,
        worsens=tuple(worsens),
        beginning=0.25,
        end=0.25,
        source="a paper",
    )
    runs = {
        name: SideResult(experiment=EXPERIMENT, runs=tuple(run(*seed, metric=metric) for seed in seeds))
        for name, seeds in sides.items()
    }
    return target.judge(runs)


LEARNS, STAYS, FORGETS = [[4, 3, 2, 1], [4, 3, 2, 2]], [[4, 4, 4, 4], [4, 4, 4, 2]], [[4, 4, 4, 6], [4, 4, 4, 5]]


def test_the_ends_are_compared() -> None:
    sides = {"learns": LEARNS, "stays": STAYS, "forgets": FORGETS}
    found = judged(sides, [["learns"], ["stays"], ["forgets"]])
    assert "reproduced" == found["verdict"]
    assert {"learns": 1.5, "stays": 3.0, "forgets": 5.5} == {
        s: told["end"]["mean"] for s, told in found["sides"].items()
    }
    assert 4.0 == found["sides"]["learns"]["beginning"]["mean"]
    assert pytest.approx(0.5) == found["sides"]["learns"]["end"]["standard_error"]  # 1 and 2
    assert "differs" == judged(sides, [["stays"], ["learns"], ["forgets"]])["verdict"]
    assert "differs" == judged(sides, [["learns"], ["forgets"], ["stays"]])["verdict"]


def test_within_a_group_any_order_will_do() -> None:
    sides = {"learns": LEARNS, "stays": STAYS, "forgets": FORGETS}
    found = judged(sides, [["stays", "learns"], ["forgets"]])
    assert "reproduced" == found["verdict"]
    pairs = [(d["better"], d["worse"], d["mean"]) for d in found["differences"]]
    assert [("stays", "forgets", 2.5), ("learns", "forgets", 4.0)] == pairs
    assert "differs" == judged(sides, [["learns", "forgets"], ["stays"]])["verdict"]


def test_what_is_said_to_get_worse_must() -> None:
    sides = {"learns": LEARNS, "forgets": FORGETS}
    order = [["learns"], ["forgets"]]
    found = judged(sides, order, worsens=["forgets"])
    assert ("reproduced", 1.5) == (found["verdict"], found["decline"]["forgets"]["mean"])
    assert "differs" == judged(sides, order, worsens=["learns"])["verdict"]
    assert (
        "differs"
        == judged({"learns": LEARNS, "stays": [[4, 0, 0, 4]] * 2}, [["learns"], ["stays"]], worsens=["stays"])[
            "verdict"
        ]
    )


def test_higher_is_better_where_the_measure_says_so() -> None:
    sides = {"good": [[0.1, 0.5, 0.9, 0.9]], "bad": [[0.5, 0.5, 0.5, 0.1]]}
    assert "reproduced" == judged(sides, [["good"], ["bad"]], "accuracy.online", ["bad"])["verdict"]
    assert "differs" == judged(sides, [["bad"], ["good"]], "accuracy.online")["verdict"]
    assert "good > bad" == Order(order=(("good",), ("bad",)), metric="accuracy.online", source="x").claim


def test_one_seed_has_no_interval() -> None:
    found = judged({"a": [[1, 1, 1, 1]], "b": [[1, 1, 1, 2]]}, [["a"], ["b"]])
    assert [{"better": "a", "worse": "b", "mean": 1.0, "interval": None}] == found["differences"]
    assert 0.0 == found["sides"]["a"]["end"]["standard_error"]


def test_dead_units_are_told_where_they_were_looked_for() -> None:
    runs = {
        "a": SideResult(experiment=EXPERIMENT, runs=(run(1, 1, dead=0.25), run(1, 1, dead=0.75))),
        "b": SideResult(experiment=EXPERIMENT, runs=(run(2, 2), run(2, 2))),
    }
    row = Order(order=(("a",), ("b",)), source="a paper").judge(runs)
    assert ["50 %", ""] == [line["dead units"] for line in Order.lines("x", row)]


def test_another_measure_than_the_learners_is_told() -> None:
    with pytest.raises(Problem, match=r"target.metric: the runs have no records of accuracy.online"):
        Order(order=(("a",), ("b",)), metric="accuracy.online", source="x").judge(
            {name: SideResult(experiment=EXPERIMENT, runs=(run(1, 1),)) for name in "ab"}
        )


# The files.


def test_the_order_of_table_c_is_there() -> None:
    protocol = load_protocol(protocols_folder() / "dohare2024-slowly-changing.yaml")
    assert "continual_backprop < shrink_and_perturb, l2 < linear < backprop" == protocol.target.claim
    assert ("backprop",) == protocol.target.worsens  # type: ignore[attr-defined]
    assert tuple(range(20)) == protocol.seeds
    assert "slowly-changing-l2" == protocol.sides["l2"].name


BAD = {
    "no sides": (
        SMALL[: SMALL.index("sides:")] + SMALL[SMALL.index("target:") :],
        ["sides: missing; required: the keys in which each side differs, by name"],
    ),
    "no mapping": (SMALL.replace("plain: {}", "plain:"), ["small.yaml:13: sides.plain: expected the keys that differ"]),
    "another stream": (
        SMALL.replace("plain: {}", "plain: {stream: {type: single}}"),
        ["small.yaml:13: sides.plain.stream: must be the same for all sides"],
    ),
    "unknown key of a side": (
        SMALL.replace("lr: 1e-5", "lrr: 1e-5"),
        ["small.yaml:14: sides.slow.learner.optimizer.lrr: unknown key; did you mean lr?"],
    ),
    "what is shared is told once": (
        SMALL.replace("batch_size: 1", "batch_size: 0"),
        ["small.yaml:9: learner.batch_size: expected a whole number of at least 1"],
    ),
    "no such side": (
        SMALL.replace("[slow]]", "[slo]]"),
        [
            "target.order: no side 'slo'; did you mean slow",
            "target.order: expected every side exactly once; missing or repeated: slow",
        ],
    ),
    "twice": (
        SMALL.replace("[slow]]", "[slow], [plain]]"),
        ["expected every side exactly once; missing or repeated: plain"],
    ),
    "one group": (SMALL.replace("[plain], [slow]", "[plain, slow]"), ["target.order: expected at least two groups"]),
    "not online": (
        SMALL.replace("online: true", "online: false").replace("together: true\n", ""),
        ["sides.plain: the online measure is not", "sides.slow: the online measure is not recorded"],
    ),
    "not together": (
        SMALL.replace("lr: 1e-5", "momentum: 0.9"),
        ["small.yaml:3: together: slow: learner.optimizer.momentum: expected 0.0, got 0.9"],
    ),
    "no measure": (
        SMALL.replace("type: order", "type: order\n  metric: squared_eror.online"),
        ["target.metric: no measure 'squared_eror'; did you mean squared_error"],
    ),
    "together what": (
        SMALL.replace("together: true", "together: all"),
        ["small.yaml:3: together: expected true or false"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_told_by_line_and_key(case: str, tmp_path: Path) -> None:
    text, expected = BAD[case]
    path = tmp_path / "small.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_protocol(path)
    assert len(expected) == len(refused.value.problems), refused.value.problems
    assert all(part in problem for part, problem in zip(expected, refused.value.problems, strict=True)), refused.value


# Runs.


@pytest.mark.parametrize("together", [True, False])
def test_sides_run_are_judged_drawn_and_not_repeated(
    together: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL if together else SMALL.replace("together: true\n", ""))
    results = tmp_path / "r.json"
    arguments = ["reproduce", str(tmp_path / "small.yaml"), "--root", str(tmp_path / "runs"), "--results", str(results)]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr().out
    text = results.read_text()
    row = json.loads(text)["rows"]["small"]
    assert [5, 6] == row["seeds"]
    assert ["plain", "slow"] == list(row["sides"])
    assert 4 == len(row["sides"]["plain"]["curve"]["mean"])
    assert ("reproduced", None) == (row["verdict"], ended.value.code or None)
    assert "reproduced" in printed
    assert "slow" in (tmp_path / "r" / "small.svg").read_text()
    assert "| `small` | `plain` | 2 |" in results.with_suffix(".md").read_text()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/*/*/*") if p.suffix in (".json", ".jsonl")}
    with pytest.raises(SystemExit):
        main([*arguments, "--quiet"])
    assert kept == {p: p.stat().st_mtime_ns for p in kept}
    assert text == results.read_text()
