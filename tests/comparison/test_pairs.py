"""Pairs of learners: which test, which seeds, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest

from rlcl.comparison.caveats import caveats
from rlcl.comparison.pairs import ComparisonSettings, compare_pairs, scaled_table
from rlcl.comparison.run_scores import RunScore
from rlcl.comparison.scores import Scores
from rlcl.comparison.verdicts import ALL_STREAMS, PairComparison, format_numbers
from rlcl.errors import UnsupportedError
from rlcl.evaluation.results import meanings
from rlcl.statistics.hypotheses import t_test
from rlcl.tracking.runs import StoredRun

BETTER, WORSE = [0.9, 0.8, 1.0, 0.9], [0.5, 0.5, 0.55, 0.53]
QUICK = ComparisonSettings(replications=2_000)


def scores_of(
    values: Mapping[str, Mapping[str, Sequence[float] | Mapping[int, float]]],
    metric: str = "accuracy.average",
    measure: str = "accuracy",
) -> Scores:
    """Of learners by streams by seeds, counted from 0 where they are a list."""
    meaning = meanings((measure,))[metric]
    cells = [
        RunScore(StoredRun(Path(f"{learner}/{stream}/seed{seed}"), ""), learner, stream, metric, meaning, value)
        for learner, streams in values.items()
        for stream, given in streams.items()
        for seed, value in (given.items() if isinstance(given, Mapping) else enumerate(given))
    ]
    streams = dict.fromkeys(cell.stream for cell in cells)
    return Scores(tuple(cells), tuple(values), tuple(streams))


def one(scores: Scores, settings: ComparisonSettings = QUICK) -> PairComparison:
    (only,) = compare_pairs(scores, settings)
    return only


def test_the_one_ahead_comes_first_and_seeds_are_paired() -> None:
    found = one(scores_of({"a": {"s": WORSE}, "b": {"s": BETTER}}))
    expected = t_test(BETTER, WORSE, paired=True)
    assert ("b", "a", "paired t", True, (4, 4)) == (found.first, found.second, found.test, found.paired, found.seeds)
    assert pytest.approx((expected.difference, expected.low, expected.high)) == (
        found.difference,
        found.low,
        found.high,
    )
    assert found.p == found.corrected_p == pytest.approx(expected.p)
    assert found.distinguishable
    assert 1.0 == found.improvement[0]


def test_a_metric_that_is_better_when_lower_is_turned_around() -> None:
    found = one(scores_of({"a": {"s": WORSE}, "b": {"s": BETTER}}, "forgetting.chaudhry"))
    assert ("a", "b") == (found.first, found.second)
    assert pytest.approx(np.mean(BETTER) - np.mean(WORSE)) == found.difference


def test_seeds_go_together_by_their_number() -> None:
    order = {3: 0.5, 1: 0.1, 2: 0.3}
    found = one(scores_of({"a": {"s": {1: 0.2, 2: 0.4, 3: 0.6}}, "b": {"s": order}}))
    assert 0.0 == pytest.approx(found.high - found.low)  # 0.1 with every seed


def test_some_seeds_without_a_partner_leave_the_others_paired() -> None:
    found = one(scores_of({"a": {"s": BETTER}, "b": {"s": {0: 0.5, 1: 0.5, 2: 0.55, 7: 0.1}}}))
    assert (True, (3, 3)) == (found.paired, found.seeds)
    assert pytest.approx(0.9 - 1.55 / 3) == found.difference


def test_few_partners_mean_no_pairs_and_all_seeds_count() -> None:
    scores = scores_of({"a": {"s": BETTER}, "b": {"s": {3: 0.5, 4: 0.5, 5: 0.55, 6: 0.52}}})
    found = one(scores)
    assert ("Welch's t", False, (4, 4)) == (found.test, found.paired, found.seeds)
    assert any("not paired" in caveat for caveat in caveats(scores, [found], True))


def test_pairing_can_be_left_off() -> None:
    found = one(scores_of({"a": {"s": WORSE}, "b": {"s": BETTER}}), ComparisonSettings(paired=False, replications=100))
    assert "Welch's t" == found.test


def test_ranks_where_asked() -> None:
    settings = ComparisonSettings(test="ranks", replications=100)
    found = one(scores_of({"a": {"s": WORSE}, "b": {"s": BETTER}}), settings)
    assert "Wilcoxon's signed ranks" == found.test
    assert pytest.approx(2 / 16) == found.p
    assert 6 == found.seeds_needed  # the least at which ranks can decide


def test_all_pairs_of_a_stream_are_corrected_for() -> None:
    found = compare_pairs(scores_of({"a": {"s": WORSE}, "b": {"s": BETTER}, "c": {"s": [0.4, 0.6, 0.4, 0.6]}}), QUICK)
    assert [3, 3, 3] == [each.comparisons for each in found]
    least = min(found, key=lambda each: each.p or 1)
    assert least.corrected_p == pytest.approx(3 * (least.p or 0))


def test_a_baseline_needs_fewer_comparisons() -> None:
    scores = scores_of({"a": {"s": WORSE}, "b": {"s": BETTER}, "c": {"s": [0.4, 0.6, 0.4, 0.6]}})
    found = compare_pairs(scores, attrs.evolve(QUICK, baseline="c"))
    assert [{"a", "c"}, {"b", "c"}] == [{each.first, each.second} for each in found]
    with pytest.raises(UnsupportedError, match="--baseline d: no such learner"):
        compare_pairs(scores, attrs.evolve(QUICK, baseline="d"))


def test_one_seed_has_no_test() -> None:
    scores = scores_of({"a": {"s": [0.9]}, "b": {"s": [0.4]}})
    found = one(scores)
    assert (None, None, "") == (found.p, found.corrected_p, found.test)
    assert (
        "a is ahead of b by 0.500 in mean accuracy.average; a test needs at least two seeds of each learner"
        in found.sentence
    )
    assert any(
        caveat.startswith("one seed gives neither an interval nor a test") for caveat in caveats(scores, [found], True)
    )


def test_over_streams_the_difference_is_of_the_interquartile_mean() -> None:
    # Eight scores each: of a 1 to 8 tenths, middle half 3, 4, 5, 6; b is 0.1 below with every seed.
    a = {"s": [0.1, 0.3, 0.5, 0.7], "t": [0.2, 0.4, 0.6, 0.8]}
    b = {stream: [value - 0.1 for value in values] for stream, values in a.items()}
    overall, *alone = compare_pairs(scores_of({"b": b, "a": a}), QUICK)
    assert (ALL_STREAMS, "a", "iqm", True) == (overall.stream, overall.first, overall.statistic, overall.paired)
    assert pytest.approx((0.1, 0.1, 0.1)) == (overall.difference, overall.low, overall.high)
    assert "paired stratified bootstrap" == overall.test
    assert ["s", "t"] == [each.stream for each in alone]
    assert [2, 2] == [each.comparisons for each in alone]
    assert 1 == overall.comparisons


def test_the_optimality_gap_is_better_the_smaller_it_is() -> None:
    settings = ComparisonSettings(aggregate="optimality_gap", replications=500)
    values = {"a": {"s": [0.9, 0.8], "t": [0.9, 1.0]}, "b": {"s": [0.5, 0.6], "t": [0.5, 0.4]}}
    overall = compare_pairs(scores_of(values), settings)[0]
    assert ("a", "b") == (overall.first, overall.second)
    assert pytest.approx(0.4) == overall.difference


def test_streams_without_a_common_scale_are_compared_by_order() -> None:
    values = {
        "a": {"s": [5.0, 6.0, 7.0], "t": [500.0, 600.0, 700.0]},
        "b": {"s": [1.0, 2.0, 3.0], "t": [1.0, 2.0, 3.0]},
    }
    scores = scores_of(values, "return.average", "return")
    overall = compare_pairs(scores, QUICK)[0]
    assert ("improvement", 1.0, "stratified ranks") == (overall.statistic, overall.difference, overall.test)
    assert "a is better than b with a probability of 1.00" in overall.sentence
    assert any("--scale" in caveat for caveat in caveats(scores, [overall], on_common_scale=False))


def test_a_scale_makes_streams_alike() -> None:
    scores = scores_of({"a": {"s": [5.0], "t": [500.0]}}, "return.average", "return")
    np.testing.assert_array_equal([[0.5, 0.25]], scaled_table(scores, "a", {"s": (0, 10), "t": (400, 800)}))
    lower = scores_of({"a": {"s": [5.0], "t": [500.0]}}, "forgetting.cora", "return")
    np.testing.assert_array_equal([[0.5, 0.75]], scaled_table(lower, "a", {"s": (0, 10), "t": (400, 800)}))


def test_a_difference_that_is_clear_is_a_verdict() -> None:
    words = one(scores_of({"a": {"s": WORSE}, "b": {"s": BETTER}})).sentence
    # Differences .4, .3, .45, .37: mean .38, deviation .0627; 3.182 of Student's t times .0627 / 2 is .0998.
    expected = "b is better than a by 0.380 (0.280 to 0.480) in mean accuracy.average; 4 seeds (paired t, p = 0.001)"
    assert expected == words


def test_what_is_not_clear_says_how_many_more_seeds_would_tell() -> None:
    found = one(scores_of({"a": {"s": [0.5, 0.6, 0.7, 0.4]}, "b": {"s": [0.5, 0.55, 0.75, 0.3]}}))
    # Differences 0, .05, -.05, .1: mean .025, deviation .0645: .387 of it, which 55 seeds would find.
    assert 55 == found.seeds_needed
    assert "a and b are not distinguishable with these 4 seeds" in found.sentence
    assert "about 51 more seeds would be needed to detect a difference of this size" in found.sentence
    assert "these seeds can detect a difference of 0." in found.sentence


def test_equal_learners_are_level() -> None:
    found = one(scores_of({"a": {"s": BETTER}, "b": {"s": BETTER}}))
    assert (1.0, False) == (found.p, found.distinguishable)
    assert "a and b are equal in accuracy.average: no number of seeds would distinguish them" in found.sentence


def test_what_the_correction_alone_takes_away_is_said() -> None:
    made = one(scores_of({"a": {"s": WORSE}, "b": {"s": BETTER}}))
    among = attrs.evolve(made, p=0.02, corrected_p=0.2, comparisons=10)
    assert "it is significant without the correction (p = 0.020), but not as one of 10 comparisons" in among.sentence


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.0312, -0.004), ["0.0312", "-0.0040"]),
        ((1234.5, 3.0), ["1,234", "3"]),
        ((0.5, float("nan")), ["0.500", ""]),
        ((-0.0,), ["0"]),
    ],
)
def test_numbers_have_three_digits_of_the_greatest(values: tuple[float, ...], expected: list[str]) -> None:
    assert expected == format_numbers(*values)
