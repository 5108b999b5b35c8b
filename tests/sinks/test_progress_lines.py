"""Lines of progress without a terminal."""

from __future__ import annotations

import io

from rlcl.console import make_console
from rlcl.sinks.progress import PlainProgress
from rlcl.types import Boundary, Record


def record(step: int, trained_on: int, evaluated_on: int, value: float, metric: str = "accuracy") -> Record:
    return Record("", 0, step, trained_on, evaluated_on, metric, value)


def line(*records: Record) -> str:
    """The line at the end of the first experience."""
    file = io.StringIO()
    progress = PlainProgress(make_console(file=file), lambda: "run", ["a"], ["accuracy"], 10)
    for each in records:
        progress.write(each)
    progress.write(Boundary(trained_on=0, step=10))
    return file.getvalue().strip()


def test_a_boundary_shows_the_latest_values() -> None:
    found = line(record(0, -1, 0, 0.1), record(5, 0, 0, 0.2), record(10, 0, 0, 0.3), record(10, 0, 2, 0.4))
    assert "run  experience 1/1 (a)  step 10 of 10  accuracy: 0.30 - 0.40" == found


def test_the_rows_of_a_drifting_stream_are_moments() -> None:
    records = [record(step, 0, column, step / 10 + column) for step in (2, 6, 10) for column in (0, 1)]
    drift = [record(step, 0, 0, 1.0, "drift.gravity") for step in (2, 6, 10)]
    assert line(*records, *drift).endswith("accuracy: 1.00 2.00")


def test_without_values_nothing_is_shown() -> None:
    assert line(record(0, -1, 0, 0.1)).endswith("step 10 of 10")
