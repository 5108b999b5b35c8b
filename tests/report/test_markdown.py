"""Tables in Markdown."""

from __future__ import annotations

import numpy as np

from rlcl.report.markdown import metrics_markdown, r_markdown


def test_losses_are_shown_as_such_and_absent_cells_empty() -> None:
    matrix = np.array([[-1.5, np.nan], [-20.0, -0.25]])
    assert "| after | a | b\\|c |\n|---|---:|---:|\n| a | 1.500 |  |\n| b\\|c | 20.0 | 0.250 |" == r_markdown(
        matrix, ["a", "b|c"], "squared_error"
    )


def test_rows_have_the_names_of_what_was_trained_on_which_may_be_more_than_is_evaluated() -> None:
    expected = "| after | a |\n|---|---:|\n| a, visit 1 | 0.500 |\n| a, visit 2 | 0.750 |"
    assert expected == r_markdown(np.array([[0.5], [0.75]]), ["a"], "accuracy", ["a, visit 1", "a, visit 2"])


def test_a_metric_a_row() -> None:
    assert "| metric | value |\n|---|---:|\n| accuracy.average | 0.912 |" == metrics_markdown(
        {"accuracy.average": 0.91234}
    )
