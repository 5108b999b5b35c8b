"""Tables of a comparison, and the files that they are exported to."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from comparable_runs import stream, write_learner, write_seed

from rlcl.comparison.export import check_export, export
from rlcl.comparison.pairs import ComparisonSettings
from rlcl.comparison.scores import gather_scores
from rlcl.comparison.tables import TABLES, ComparisonReport
from rlcl.comparison.terminal import left_out_lines
from rlcl.errors import UnsupportedError
from rlcl.statistics.intervals import summarize
from rlcl.tracking.runs import find_runs


def report(root: Path, metric: str | None = None) -> ComparisonReport:
    return ComparisonReport(
        scores=gather_scores(find_runs(root), metric), settings=ComparisonSettings(replications=500)
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two learners on two streams, three seeds each."""
    folder = tmp_path / "runs"
    for name, gain in {"ewc": 0.1, "si": 0.0}.items():
        write_learner(folder, name, [0.2 + gain, 0.3 + gain, 0.7 + gain])
        write_learner(folder, name, [0.5, 0.5, 0.5], folder="i", config={"stream": stream("iris")})
    return folder


def test_a_learner_s_row_has_student_s_interval_of_its_mean(root: Path) -> None:
    row = TABLES["learners"](report(root))[0]
    found = summarize([0.3, 0.4, 0.8])
    expected = {"learner": "ewc", "stream": "single digits", "seeds": 3, "median": 0.4, "least": 0.3, "greatest": 0.8}
    assert expected == {key: pytest.approx(row[key]) if isinstance(row[key], float) else row[key] for key in expected}
    assert (found.mean, found.low, found.high) == pytest.approx((row["mean"], row["mean_low"], row["mean_high"]))
    assert pytest.approx(0.5) == row["iqm"]  # nothing is cut of three


def test_one_seed_has_empty_intervals(tmp_path: Path) -> None:
    write_learner(tmp_path, "ewc", [0.5])
    row = TABLES["learners"](report(tmp_path))[0]
    assert (0.5, None, None) == (row["mean"], row["mean_low"], row["iqm_high"])
    json.dumps(row, allow_nan=False)


def test_aggregates_are_over_all_streams(root: Path) -> None:
    ewc, si = TABLES["aggregates"](report(root))
    # Six scores .3, .4, .5, .5, .5, .8: one is cut at each end.
    assert pytest.approx((0.5, 0.475, 0.5)) == (ewc["mean"], ewc["iqm"], ewc["optimality_gap"])
    assert (2, 3) == (ewc["streams"], ewc["seeds"])
    assert si["iqm_low"] < si["iqm"] < si["iqm_high"]


def test_forgetting_is_aggregated_as_it_was_measured(tmp_path: Path) -> None:
    for place, data in enumerate(["digits", "iris"]):
        for seed in (0, 1):
            metrics = {"accuracy.average": 1.0, "forgetting.chaudhry": 0.1 + 0.2 * seed + place}
            write_seed(tmp_path, "ewc", seed, metrics, folder=data, config={"stream": stream(data)})
    (row,) = TABLES["aggregates"](report(tmp_path, "forgetting.chaudhry"))
    assert pytest.approx(0.7) == row["mean"]
    assert row["mean_low"] <= row["mean"] <= row["mean_high"]
    assert "optimality_gap" not in row


def test_a_profile_is_of_all_streams(root: Path) -> None:
    rows = [row for row in TABLES["profiles"](report(root)) if row["learner"] == "ewc"]
    shares = {round(row["threshold"], 2): row["share"] for row in rows}
    # Of .3, .4, .8 and .5 three times: all above .25, four above .45, one above .75.
    assert (1.0, pytest.approx(4 / 6), pytest.approx(1 / 6)) == (shares[0.25], shares[0.45], shares[0.75])


def test_a_curve_is_the_mean_over_experiences_at_each_evaluation(tmp_path: Path) -> None:
    for seed in (0, 1):
        points = [(0, -1, 0, 0.0), (0, -1, 1, 0.1), (10 + seed, 0, 0, 0.4 + seed), (10 + seed, 0, 1, 0.6 + seed)]
        keys = ("step", "trained_on", "evaluated_on", "value")
        records = [{"run": "r", "seed": seed, "metric": "accuracy", **dict(zip(keys, p, strict=True))} for p in points]
        write_seed(tmp_path, "ewc", seed, {"accuracy.average": 0.5}, records=records)
    before, after = TABLES["curves"](report(tmp_path))
    assert (0.0, pytest.approx(0.05)) == (before["step"], before["iqm"])
    assert (10.5, pytest.approx(1.0)) == (after["step"], after["iqm"])
    assert pytest.approx((0.5, 1.5)) == (after["iqm_low"], after["iqm_high"])


def test_every_table_has_the_same_columns_in_each_row(root: Path) -> None:
    made = report(root)
    for name, table in TABLES.items():
        assert 1 >= len({tuple(row) for row in table(made)}), name


def test_of_many_pairs_those_with_the_best_are_shown(tmp_path: Path) -> None:
    for place in range(6):
        write_learner(tmp_path, f"m{place}", [0.1 * place, 0.1 * place + 0.05])
    made = report(tmp_path)
    assert 15 == len(made.comparisons)
    assert {"m5"} == {each.first for each in made.main_comparisons}
    assert 5 == len(made.main_comparisons)


def test_runs_left_out_for_one_reason_are_counted_where_they_are_many() -> None:
    many = [(f"a{place}", "not run yet") for place in range(6)]
    expected = ["left out: b: corrupt", "left out: a0 and 5 more: not run yet"]
    assert expected == left_out_lines([("b", "corrupt"), *many])
    assert 5 == len(left_out_lines(many[:5]))


ROWS = [
    {"learner": "a_b", "seeds": 3, "mean": 0.5, "mean_low": 0.25, "mean_high": 0.75, "p": None, "sure": True},
    {"learner": "50 %|c", "seeds": 1, "mean": 1 / 3, "mean_low": None, "mean_high": None, "p": 0.01, "sure": False},
]


def test_csv_keeps_every_digit(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.csv"
    export(path, ROWS, "caption")
    first, second = csv.DictReader(path.read_text().splitlines())
    assert ("0.25", "") == (first["mean_low"], first["p"])
    assert 1 / 3 == float(second["mean"])


def test_markdown_is_a_table_for_people(tmp_path: Path) -> None:
    export(tmp_path / "t.md", ROWS, "caption")
    expected = [
        "caption",
        "",
        "| learner | seeds | mean | p | sure |",
        "| --- | ---: | ---: | --- | --- |",
        "| a_b | 3 | 0.500 (0.250 to 0.750) |  | yes |",
        r"| 50 %\|c | 1 | 0.333 | 0.0100 | no |",
    ]
    assert expected == (tmp_path / "t.md").read_text().splitlines()


def test_latex_escapes_what_means_something_there(tmp_path: Path) -> None:
    export(tmp_path / "t.tex", ROWS, "50 % of x_1")
    text = (tmp_path / "t.tex").read_text()
    assert r"\caption{50 \% of x\_1}" in text
    assert r"\begin{tabular}{lrrll}" in text
    assert r"a\_b & 3 & 0.500 (0.250 to 0.750) &  & yes \\" in text
    assert r"50 \%|c & 1 & 0.333 & 0.0100 & no \\" in text


def test_parquet_can_be_read_again(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(tmp_path / "t.parquet", ROWS, "caption")
    assert ROWS == parquet.read_table(tmp_path / "t.parquet").to_pylist()


def test_parquet_without_pyarrow_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnsupportedError, match=r"Parquet needs pyarrow: pip install 'rlcl\[parquet\]'"):
        check_export(Path("t.parquet"))


@pytest.mark.parametrize(("name", "rows"), [("t.xlsx", ROWS), ("t.csv", [])])
def test_what_cannot_be_exported_is_refused(tmp_path: Path, name: str, rows: Sequence[dict[str, object]]) -> None:
    with pytest.raises(UnsupportedError, match="--export"):
        export(tmp_path / name, rows, "caption")
