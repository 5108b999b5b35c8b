"""Small drawings: numbers, scales, lines and what they say without being seen."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from rlcl.report.page.svg import ChartLine, LinearScale, interval_plot, line_chart, short_number, ticks

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (0.5, "0.5"), (-0.1234, "-0.123"), (512, "512"), (1234, "1234"), (20000, "20k"), (3.2e6, "3.2M"),
     (2e-5, "2.0e-5")],
)  # fmt: skip
def test_numbers_are_short(value: float, expected: str) -> None:
    assert expected == short_number(value)


def test_ticks_are_round_and_within() -> None:
    assert [0, 0.25, 0.5, 0.75, 1] == ticks(0, 1)
    assert [-100, 0, 100, 200] == ticks(-120, 210)
    assert [3] == ticks(3, 3)


def test_a_scale_is_linear_and_a_single_value_lies_in_the_middle() -> None:
    assert 30 == LinearScale(0, 10, 10, 50)(5)
    assert 30 == LinearScale(7, 7, 10, 50)(7)


def chart(*lines: ChartLine, **options: object) -> ElementTree.Element:
    return ElementTree.fromstring(str(line_chart(lines, "told <so>", **options)))  # type: ignore[arg-type]


def test_a_line_runs_from_corner_to_corner_and_is_described() -> None:
    drawn = chart(ChartLine("a", np.array([0.0, 10.0]), np.array([0.0, 1.0])), span=(0, 1), width=340, height=176)
    (path,) = [e for e in drawn if e.get("class") == "line c0"]
    assert "M33.0 158.0L330.0 10.0" == path.get("d")
    assert "told <so>" == drawn.get("aria-label")
    assert "img" == drawn.get("role")
    assert ["a, step 0: 0", "a, step 10: 1"] == [e[0].text for e in drawn if e.tag == "circle"]


def test_a_gap_breaks_a_line_and_its_band() -> None:
    values = np.array([0.0, NAN, 1.0, 1.0])
    drawn = chart(ChartLine("a", np.arange(4.0), values, values - 0.1, values + 0.1))
    (line,) = [e for e in drawn if e.get("class") == "line c0"]
    (band,) = [e for e in drawn if e.get("class") == "band c0"]
    assert 2 == line.get("d", "").count("M")
    assert 2 == band.get("d", "").count("Z")


def test_names_at_the_ends_of_lines_stand_apart_and_within() -> None:
    steps = np.array([0.0, 1.0])
    lines = [ChartLine(name, steps, np.array([0.0, 1.0]), color=i) for i, name in enumerate(["one", "two", "a<b"])]
    drawn = chart(*lines, span=(0, 1))
    names = [e for e in drawn if (e.get("class") or "").startswith("end")]
    assert ["one", "two", "a<b"] == [e.text for e in names]
    heights = [float(e.get("y", 0)) for e in names]
    assert [13.5, 25.5, 37.5] == heights


def test_boundaries_at_the_ends_of_the_axis_are_not_drawn() -> None:
    drawn = chart(ChartLine("", np.array([0.0, 10.0]), np.array([0.0, 1.0])), boundaries=[0, 5, 10], shaded=[(5, 10)])
    assert 1 == len([e for e in drawn if e.get("class") == "boundary"])
    assert 1 == len([e for e in drawn if e.get("class") == "training"])


def test_an_interval_has_its_value_seeds_and_zero() -> None:
    drawn = ElementTree.fromstring(str(interval_plot(1.0, 0.0, 2.0, LinearScale(0, 2, 10, 110), [0.5, 1.5])))
    assert ["60.0", "35.0", "85.0"] == [
        e.get("cx") for kind in ("value c0", "seed c0") for e in drawn if e.get("class") == kind
    ]
    (interval,) = [e for e in drawn if e.get("class") == "interval c0"]
    assert ("10.0", "110.0") == (interval.get("x1"), interval.get("x2"))
    assert 1 == len([e for e in drawn if e.get("class") == "zero"])
    assert 0 == len(ElementTree.fromstring(str(interval_plot(NAN, NAN, NAN, LinearScale(1, 2, 0, 1)))))
