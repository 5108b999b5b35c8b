"""Figures of results."""

from __future__ import annotations

import numpy as np
import pytest

from rlcl.report.figures import r_figure


@pytest.mark.parametrize(("size", "written"), [(2, ["0.00", "0.25", "0.50", "0.75"]), (21, [])])
def test_numbers_are_written_into_an_r_that_is_not_large(size: int, written: list[str]) -> None:
    matrix = np.arange(size * size).reshape(size, size) / (size * size)
    figure = r_figure(matrix, [str(j) for j in range(size)], "accuracy")
    assert written == [text.get_text() for text in figure.axes[0].texts]
