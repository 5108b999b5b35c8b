"""Protocols beside a peer: the verdict and the curves by hand, the files, and a small one from end to end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest

from rlcl.commands import main
from rlcl.errors import ConfigError
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import load_experiment
from rlcl.reproduction.protocols import load_protocol, load_protocols
from rlcl.reproduction.reproduce import markdown, write_results
from rlcl.reproduction.targets.peer import Peer, area_under_curve, evaluation_curve, steps_to_floor
from rlcl.reproduction.types import ReproductionRun, ResultRow, SideResult
from rlcl.types import Record

SMALL = """\
name: small
seeds: [100, 101]
stream: {type: environments, env: CartPole-v1}
budget: {env_steps: 96}
evaluation: {every: {env_steps: 32}, episodes: 2}
learner: {type: dqn, network: {type: mlp, hidden: [8]}, learning_starts: 16, train_every: 16}
peer:
  name: theirs
  learner: {extends: null, type: sb3, algorithm: DQN, options: {learning_starts: 16, train_freq: 16}}
target: {type: peer, floor: 5, least_seeds: 2, source: "nobody, table 0"}
"""
EXPERIMENT = load_experiment("quickstart")


def run(*returns: float, steps: Sequence[int] = (), seconds: float = 1.0) -> ReproductionRun:
    """A run evaluated after each 100 env steps, and before the first."""
    at = steps or range(0, 100 * len(returns), 100)
    records = [
        Record("", 0, step, 0 if place else -1, 0, "return", value)
        for place, (step, value) in enumerate(zip(at, returns, strict=True))
    ]
    return ReproductionRun(outcome=Outcome(tuple(records), ("return",)), seconds=seconds)


def side(*ends: float) -> SideResult:
    """Runs that begin at 0 and end so."""
    return SideResult(experiment=EXPERIMENT, runs=tuple(run(0.0, end) for end in ends))


def judged(ours: Sequence[float], peer: Sequence[float], floor: float = 0.0, **changes: int) -> ResultRow:
    target = Peer(floor=floor, source="a paper", **{"least_seeds": 2, **changes})
    return target.judge({"ours": side(*ours), "peer": side(*peer)})


# The verdict.


def test_the_difference_is_that_of_the_interquartile_means() -> None:
    found = judged([0, 10, 20, 90], [1, 2, 4, 100])  # the middle two: 15 and 3
    assert (15.0, 3.0, 12.0) == (found["ours"]["iqm"], found["peer"]["iqm"], found["difference"])
    assert (30.0, 26.75) == (found["ours"]["mean"], found["peer"]["mean"])


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [((9, 10, 11, 12), "reproduced"), ((109, 110, 111, 112), "reproduced"), ((1, 2, 3, 4), "differs")],
)
def test_an_interval_that_contains_0_or_lies_above_it_passes(ours: Sequence[float], verdict: str) -> None:
    found = judged(ours, (9, 10, 11, 12))
    low, high = found["interval"]
    assert verdict == found["verdict"]
    assert low <= found["difference"] <= high
    assert (verdict == "reproduced") == (high >= 0)


def test_seeds_of_the_same_number_are_no_pairs() -> None:
    found = judged(range(10), [value + 0.1 for value in range(10)])  # pairs would say: always 0.1 less
    assert (pytest.approx(-0.1), "reproduced") == (found["difference"], found["verdict"])


def test_equal_runs_differ_by_nothing() -> None:
    found = judged([500] * 10, [500] * 10)
    assert ([0.0, 0.0], "reproduced") == (found["interval"], found["verdict"])


def test_the_mean_must_reach_the_floor() -> None:
    assert "reproduced" == judged([9, 11], [10, 10], floor=10.0)["verdict"]
    assert "differs" == judged([9, 11], [10, 10], floor=10.01)["verdict"]


def test_few_seeds_are_not_judged() -> None:
    assert "not judged" == judged([10] * 9, [10] * 9, least_seeds=10)["verdict"]
    alone = judged([10], [11])
    assert ("not judged", None) == (alone["verdict"], alone["interval"])


# The curves.


def test_a_curve_is_the_mean_over_experiences_at_each_step() -> None:
    records = [Record("", 0, step, 0, e, "return", v) for step, e, v in [(0, 0, 1), (0, 1, 3), (64, 0, 5), (64, 1, 6)]]
    records.append(Record("", 0, 64, 0, 0, "parameters", 9.0))
    steps, values = evaluation_curve(ReproductionRun(outcome=Outcome(tuple(records), ("return",))), "return")
    assert ([0, 64], [2.0, 5.5]) == (steps.tolist(), values.tolist())


def test_the_floor_is_reached_at_the_first_evaluation_that_is_not_below_it() -> None:
    steps, values = np.array([0, 100, 200, 300]), np.array([1.0, 5.0, 4.0, 6.0])
    assert (100, 300, None) == tuple(steps_to_floor(floor, steps, values) for floor in (5.0, 5.5, 7.0))


def test_the_area_is_the_mean_on_the_way() -> None:
    assert 5.0 == area_under_curve(np.array([0, 100]), np.array([0.0, 10.0]))
    assert (1 * 100 + 6 * 300) / 400 == area_under_curve(np.array([0, 100, 400]), np.array([0.0, 2.0, 10.0]))


def test_seeds_that_stop_at_other_steps_are_joined_on_a_line() -> None:
    runs = (run(0.0, 10.0, steps=(0, 100)), run(0.0, 30.0, 30.0, steps=(0, 50, 100)))
    target = Peer(floor=5.0, source="a paper", least_seeds=2)
    found = target.judge({"ours": SideResult(experiment=EXPERIMENT, runs=runs), "peer": side(0, 0)})["ours"]
    assert [0, 50, 100] == found["curve"]["steps"]
    assert [0.0, 17.5, 20.0] == found["curve"]["mean"]  # 5 and 30, 10 and 30
    assert [[0.0, 5.0, 10.0], [0.0, 30.0, 30.0]] == found["curve"]["seeds"]
    assert [100, 50] == found["steps_to_floor"]
    assert 75.0 == found["median_steps_to_floor"]
    assert [5.0, 22.5] == found["area"]


def test_a_floor_that_half_of_the_seeds_never_reach_has_no_median() -> None:
    found = judged([10, 10, 1, 1], [10, 10, 10, 1], floor=5.0)
    assert (None, 100.0) == (found["ours"]["median_steps_to_floor"], found["peer"]["median_steps_to_floor"])


# The files.


def test_the_rows_of_table_d_are_there() -> None:
    protocols = load_protocols(["beside-sb3-*"])
    floors = {protocol.sides["ours"].name: protocol.target.floor for protocol in protocols}  # type: ignore[attr-defined]
    expected = {"ppo-cartpole": 475, "dqn-cartpole": 475, "ppo-acrobot": -90, "dqn-acrobot": -95}
    assert {**expected, "sac-pendulum": -180, "td3-pendulum": -180} == floors
    for protocol in protocols:
        ours, peer = protocol.sides["ours"], protocol.sides["peer"]
        assert tuple(range(100, 110)) == protocol.seeds == peer.seeds
        assert 100 == ours.evaluation.episodes
        algorithm, _, task = ours.name.partition("-")
        assert f"{algorithm}-{task}-sb3" == peer.name
        assert (algorithm, "sb3") == (ours.learner.type, peer.learner.type)
        assert ours == attrs.evolve(peer, name=ours.name, learner=ours.learner)


BAD = {
    "no peer": (SMALL.partition("peer:")[0] + SMALL[SMALL.index("target:") :], ["peer: missing; required: the keys"]),
    "no mapping": (
        SMALL.replace("peer:\n  name: theirs\n  learner:", "peer: sb3\nobjective:").replace("objective", "#"),
        ["small.yaml:7: peer: expected the keys that differ, of name, encoder, learner; got 'sb3'"],
    ),
    "another budget": (
        SMALL.replace("name: theirs", "budget: {env_steps: 100}"),
        ["small.yaml:8: peer.budget: must be the same for all sides; remove it here"],
    ),
    "unknown key of the peer": (
        SMALL.replace("algorithm: DQN", "algorithm: DQN, algorithms: 2"),
        ["small.yaml:9: peer.learner.algorithms: unknown key; did you mean algorithm?"],
    ),
    "what is shared is told once": (
        SMALL.replace("env_steps: 96", "env_steps: 0"),
        ["small.yaml:4: budget.env_steps: expected a whole number of at least 1"],
    ),
    "the same twice": (
        SMALL.replace(
            "{extends: null, type: sb3, algorithm: DQN, options: {learning_starts: 16, train_freq: 16}}", "{}"
        ),
        ["small.yaml:7: peer: both sides are the same; set at least learner"],
    ),
    "no average": (
        SMALL.replace("floor: 5", "floor: 5, metric: backward_transfer"),
        ["small.yaml:10: target.metric: expected an average such as return.average, got 'backward_transfer'"],
    ),
    "one seed": (SMALL.replace("least_seeds: 2", "least_seeds: 1"), ["target.least_seeds: expected a whole number"]),
    "no floor": (SMALL.replace("floor: 5, ", ""), ["small.yaml:10: target.floor: missing"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_told_by_line_and_key(case: str, tmp_path: Path) -> None:
    text, expected = BAD[case]
    path = tmp_path / "small.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_protocol(path)
    assert len(expected) == len(refused.value.problems), refused.value.problems
    assert all(part in problem for part, problem in zip(expected, refused.value.problems, strict=True))


def test_fewer_seeds_are_the_first_ones_and_more_go_on(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    protocol = load_protocol(path)
    assert ((100,), (100, 101, 102)) == (protocol.with_seeds(1).seeds, protocol.with_seeds(3).seeds)
    assert (100, 101, 102) == protocol.with_seeds(3).sides["peer"].seeds


# Runs.


def test_both_sides_run_are_judged_drawn_and_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    results = tmp_path / "results" / "published.json"
    arguments = ["reproduce", str(tmp_path / "small.yaml"), "--root", str(tmp_path / "runs"), "--results", str(results)]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr().out
    text = results.read_text()
    row = json.loads(text)["rows"]["small"]
    assert [100, 101] == row["seeds"]
    for name, found in (("small", row["ours"]), ("theirs", row["peer"])):
        folders = sorted((tmp_path / "runs" / name / found["hash"]).glob("seed*"))
        assert ["seed100", "seed101"] == [folder.name for folder in folders]
        ends = [json.loads((f / "records.jsonl").read_text().splitlines()[3])["value"] for f in folders]
        assert ends == found["values"] == [curve[-1] for curve in found["curve"]["seeds"]]
        assert [0, 32, 64, 96] == found["curve"]["steps"]
        assert 2 == len(found["seconds"])
    assert int(row["verdict"] == "differs") == (ended.value.code or 0)
    assert row["verdict"] in printed
    picture = results.parent / "published" / "small.svg"
    drawn = picture.read_text()
    assert "theirs (sb3)" in drawn
    assert f"| `small` | `small` | 2 | {row['ours']['mean']:.2f} | 5 |" in results.with_suffix(".md").read_text()
    assert "![small](published/small.svg)" in results.with_suffix(".md").read_text()
    records = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*/*/records.jsonl")}
    with pytest.raises(SystemExit):
        main([*arguments, "--quiet"])
    assert records == {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*/*/records.jsonl")}
    assert (text, drawn) == (results.read_text(), picture.read_text())


def test_kinds_have_sections_of_their_own(tmp_path: Path) -> None:
    row = judged([9, 11], [10, 10], floor=10.0)
    assert ["## Comparison with a peer"] == [
        line for line in markdown({"a": row}).splitlines() if line.startswith("## ")
    ]
    write_results(tmp_path / "r.json", {"a": row})
    assert (tmp_path / "r" / "a.svg").exists()
