"""Protocols of statements: the verdict by hand, the file, and a small one from end to end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rlcl.commands import main
from rlcl.errors import ConfigError, Problem
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import load_experiment
from rlcl.reproduction.protocols import load_protocol, protocols_folder
from rlcl.reproduction.targets.claims import Claim, Claims
from rlcl.reproduction.types import ReproductionRun, ResultRow, SideResult
from rlcl.types import Record

EXPERIMENT = load_experiment("quickstart")
SMALL = """\
name: small
seeds: [5, 6]
stream: {type: class_incremental, data: {type: digits}, experiences: 2}
encoder: {type: scale, maximum: 16}
learner: {type: classifier, network: {type: mlp, hidden: [16]}, optimizer: {type: adam, lr: 1e-3}}
budget: {updates: 20}
sides:
  trained: {}
  slow: {learner: {optimizer: {lr: 1e-9}}}
target:
  type: claims
  claims:
    - {side: trained, metric: accuracy.learning, at_least: 2, of: slow}
    - {side: slow, metric: accuracy.learning, at_most: 0.3}
  source: "nobody, figure 0"
"""


def run(*matrix: Sequence[float]) -> ReproductionRun:
    """A run with R, one row after each experience."""
    records = [
        Record("", 0, 10 * (t + 1), t, j, "accuracy", value)
        for t, row in enumerate(matrix)
        for j, value in enumerate(row)
    ]
    return ReproductionRun(outcome=Outcome(tuple(records), ("accuracy",)), seconds=2.0)


# Two seeds each: mean R[j, j] is 0.8 and 0.6 of the one, 0.3 and 0.2 of the other.
HIGH = [run([0.9, 0.1], [0.5, 0.7]), run([0.7, 0.1], [0.5, 0.5])]
LOW = [run([0.4, 0.1], [0.4, 0.2]), run([0.3, 0.1], [0.3, 0.1])]


def judged(*claims: Mapping[str, Any], sides: Mapping[str, Sequence[ReproductionRun]] | None = None) -> ResultRow:
    runs = sides or {"high": HIGH, "low": LOW}
    target = Claims(claims=tuple(Claim(**claim) for claim in claims), source="nobody")
    return target.judge({name: SideResult(experiment=EXPERIMENT, runs=tuple(r)) for name, r in runs.items()})


LEARNING = {"side": "high", "metric": "accuracy.learning"}


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ({**LEARNING, "at_least": 0.699}, True),
        ({**LEARNING, "at_least": 0.71}, False),
        ({**LEARNING, "at_most": 0.701}, True),
        ({**LEARNING, "at_most": 0.69}, False),
        ({**LEARNING, "at_least": 2.79, "of": "low"}, True),
        ({**LEARNING, "at_least": 2.81, "of": "low"}, False),
        ({"side": "low", "metric": "accuracy.learning", "at_least": 1, "of": "high"}, False),
        (
            {"side": "high", "metric": "diagonal.first", "at_least": 1, "of": "high", "of_metric": "diagonal.later"},
            True,
        ),
        (
            {"side": "high", "metric": "diagonal.later", "at_least": 1, "of": "high", "of_metric": "diagonal.first"},
            False,
        ),
        ({"side": "low", "metric": "diagonal.later", "at_most": 0.151}, True),
    ],
)
def test_means_over_seeds_must_fulfil_the_statement(claim: dict[str, Any], holds: bool) -> None:
    row = judged(claim)
    assert row["claims"][0]["holds"] is holds
    assert row["verdict"] == ("reproduced" if holds else "differs")


def test_all_statements_must_hold() -> None:
    row = judged({**LEARNING, "at_least": 0.5}, {**LEARNING, "at_most": 0.5})
    assert [each["holds"] for each in row["claims"]] == [True, False]
    assert row["verdict"] == "differs"


def test_differences_are_paired_by_seed() -> None:
    # 0.8 - 0.3 and 0.6 - 0.2: mean 0.45, deviation 0.0707, Student's t of one degree of freedom 12.706.
    (each,) = judged({**LEARNING, "at_least": 1, "of": "low"})["claims"]
    assert each["difference"] == pytest.approx(0.45)
    assert each["interval"] == pytest.approx([0.45 - 12.706 * 0.05, 0.45 + 12.706 * 0.05], abs=1e-3)
    assert each["statement"] == "accuracy.learning: high >= low"


def test_one_seed_has_no_interval() -> None:
    row = judged({**LEARNING, "at_least": 0.5}, sides={"high": HIGH[:1]})
    assert row["claims"][0]["interval"] is None
    assert Claims.lines("small", row)[0]["interval"] == ""


def test_a_metric_that_is_not_there_is_named() -> None:
    with pytest.raises(Problem, match=r"accuracy\.nothing"):
        judged({"side": "high", "metric": "accuracy.nothing", "at_least": 0})
    with pytest.raises(Problem, match="no value of diagonal after each of two or more experiences"):
        judged({"side": "one", "metric": "diagonal.first", "at_least": 0}, sides={"one": [run([0.5])]})
    with pytest.raises(Problem, match="no value of dead_units"):
        judged({"side": "high", "metric": "dead_units.last_quarter", "at_least": 0})


def life(*values: float) -> ReproductionRun:
    """A run of which only R[j, j] and a probe are known; the probe is a tenth of R[j, j]."""
    records = [
        Record("", 0, 10 * (j + 1), j, j, metric, value * factor)
        for j, value in enumerate(values)
        for metric, factor in (("accuracy", 1.0), ("dead_units", 0.1))
    ]
    return ReproductionRun(outcome=Outcome(tuple(records), ("accuracy",)), seconds=2.0)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("diagonal.first", 9.0),
        ("diagonal.later", 8.0),
        ("diagonal.first_quarter", 8.0),  # of six values, two
        ("diagonal.last_quarter", 1.5),
        ("dead_units.first_quarter", 0.8),
        ("dead_units.last_quarter", 0.15),
    ],
)
def test_parts_of_a_series(metric: str, expected: float) -> None:
    row = judged({"side": "one", "metric": metric, "at_least": 0}, sides={"one": [life(9, 7, 8, 3, 1, 2)]})
    assert row["claims"][0]["value"]["mean"] == pytest.approx(expected)


def test_a_significant_statement_needs_the_whole_interval() -> None:
    claim = {**LEARNING, "at_least": 1, "of": "low"}  # the interval of the difference is -0.185 to 1.085
    assert judged(claim)["claims"][0]["holds"]
    (each,) = judged({**claim, "significant": True})["claims"]
    assert not each["holds"]
    assert each["statement"] == "accuracy.learning: high >= low (interval)"
    sides = {"high": [life(4, 4), life(5, 5)], "low": [life(1, 1), life(2.01, 2)]}
    decided = {"side": "high", "metric": "diagonal.first", "at_least": 1, "of": "low", "significant": True}
    assert judged(decided, sides=sides)["claims"][0]["holds"]
    below = {"side": "low", "metric": "diagonal.first", "at_most": 1, "of": "high", "significant": True}
    assert judged(below, sides=sides)["claims"][0]["holds"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("at_most: 0.3", "at_mots: 0.3", "unknown key"),
        (
            "{side: slow, metric: accuracy.learning, at_most: 0.3}",
            "{side: slow, metric: accuracy.learning}",
            "exactly one of",
        ),
        ("at_most: 0.3", "at_most: 0.3, of_metric: accuracy.average", "it needs a side; set of"),
        ("of: slow", "of: slwo", "no side 'slwo'; did you mean slow"),
        ("side: trained", "side: train", "no side 'train'; did you mean trained"),
        ("sides:\n  trained: {}\n  slow: {learner: {optimizer: {lr: 1e-9}}}\n", "", "sides: missing"),
        ("  slow: {learner", "  slow: {budget: {updates: 3}, learner", "must be the same for all sides"),
    ],
)
def test_a_bad_file_is_refused_by_line_and_key(before: str, after: str, message: str, tmp_path: Path) -> None:
    assert before in SMALL
    (tmp_path / "small.yaml").write_text(SMALL.replace(before, after))
    with pytest.raises(ConfigError, match=message):
        load_protocol(tmp_path / "small.yaml")


def test_sides_are_run_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    results = tmp_path / "results.json"
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", str(tmp_path / "small.yaml"), "--root", str(tmp_path / "runs"), "--results", str(results)])
    assert not ended.value.code
    row = json.loads(results.read_text())["rows"]["small"]
    assert row["verdict"] == "reproduced"
    assert row["claims"][0]["value"]["mean"] > 2 * row["claims"][1]["value"]["mean"]
    assert "accuracy.learning: trained >= 2 x slow" in results.with_suffix(".md").read_text()
    assert "reproduced" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(protocols_folder().glob("continual-rl-*.yaml")), ids=lambda path: path.stem)
def test_a_method_that_does_not_forget_must_also_have_learned(path: Path) -> None:
    protocol = load_protocol(path)
    assert len(protocol.seeds) >= 5
    assert isinstance(protocol.target, Claims)
    kept = {claim.side for claim in protocol.target.claims if claim.metric == "forgetting.cw"}
    learned = {claim.side for claim in protocol.target.claims if claim.metric == "score.learning"}
    assert kept
    assert kept <= learned
