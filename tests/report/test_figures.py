"""Figures of results."""

from __future__ import annotations

import io

import numpy as np
import pytest

from rlcl.report.figures import r_figure


@pytest.mark.parametrize(("size", "written"), [(2, ["0.00", "0.25", "0.50", "0.75"]), (21, [])])
def test_numbers_are_written_into_an_r_that_is_not_large(size: int, written: list[str]) -> None:
    matrix = np.arange(size * size).reshape(size, size) / (size * size)
    figure = r_figure(matrix, [str(j) for j in range(size)], "accuracy")
    assert written == [text.get_text() for text in figure.axes[0].texts]


def test_rows_have_the_names_of_what_was_trained_on_which_may_be_more_than_is_evaluated() -> None:
    trained = ["a, visit 1", "b, visit 1", "a, visit 2", "b, visit 2"]
    figure = r_figure(np.full((4, 2), 0.5), ["a", "b"], "accuracy", trained=trained)
    assert [f"after {name}" for name in trained] == [text.get_text() for text in figure.axes[0].get_yticklabels()]


@pytest.mark.parametrize("measure", ["linear_probe", "reconstruction_error"])
def test_an_r_without_any_value_is_drawn(measure: str) -> None:
    figure = r_figure(np.empty((0, 2)), ["a", "b"], measure)
    assert ["no value"] == [text.get_text() for text in figure.axes[0].get_yticklabels()]
    figure.savefig(io.BytesIO())
