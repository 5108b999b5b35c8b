"""Progress of a run on the console: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from rlcl.config import option
from rlcl.evaluation.results import Results, measure_named
from rlcl.types import Boundary, Event, Record, RunStart, Sink

__all__ = ["PlainProgress", "Progress", "TerminalProgress", "progress_for"]

LINE_SECONDS = 10.0  # between two plain lines within an experience
BAR_SECONDS = 0.1  # between two updates of the bar


@define(kw_only=True, eq=False)
class Progress(Sink):
    """Progress on the console, a bar on a terminal and lines elsewhere; every run has this sink.

    Args:
        seconds: seconds between two lines within an experience.
    """

    seconds: float = option(LINE_SECONDS, gt=0)
    _display: Sink = field(init=False)

    def open(self, run: RunStart) -> None:
        self._display = progress_for(
            run.console, run.title, run.experiences, run.measures, run.steps, run.bar, self.seconds
        )

    def write(self, item: Event | Record | Boundary) -> None:
        self._display.write(item)

    def step(self, step: int, experience: int) -> None:
        self._display.step(step, experience)

    def close(self) -> None:
        self._display.close()


def progress_for(
    console: Console,
    title: str,
    names: Sequence[str],
    measures: Sequence[str],
    steps: int | None,
    bar: bool = True,
    seconds: float = LINE_SECONDS,
) -> Sink:
    """Return a bar if the console is a terminal, else lines.

    Args:
        console: console for the progress.
        title: title of the run, for example ``seed 0``.
        names: names of the experiences.
        measures: measures of the learner, the decisive one first.
        steps: number of steps of the whole run; None if it is not known.
        bar: whether a bar is allowed; a terminal has at most one at a time.
        seconds: seconds between two lines within an experience.
    """
    if bar and console.is_terminal:
        return TerminalProgress(console, title, names, measures, steps)
    return PlainProgress(console, lambda: title, names, measures, steps, seconds)


def _row(records: Sequence[Record], measure: str, trained_on: int) -> str:
    """Return the latest performance on each experience after training on one of them as text: ``1.00 0.98 0.00``."""
    results = Results(records, measure)
    latest = {r.evaluated_on: results.sign * r.value for r in results.rows if r.trained_on == trained_on}
    if not latest:
        return ""
    largest = max((abs(value) for value in latest.values() if not math.isnan(value)), default=0)
    digits = 2 if largest < 10 else 0
    columns = range(1 + max(r.evaluated_on for r in results.rows))
    values = [latest.get(column, math.nan) for column in columns]
    return " ".join("-" if math.isnan(value) else f"{value:.{digits}f}" for value in values)


class PlainProgress(Sink):
    """Progress as lines, one at each boundary and one at intervals in between.

    Args:
        console: console for the lines.
        title: returns the beginning of a line, for example the current time.
        names: names of the experiences.
        measures: measures of the learner, the decisive one first.
        steps: number of steps of the whole run; None if it is not known.
        seconds: seconds between two lines within an experience.
    """

    def __init__(
        self,
        console: Console,
        title: Callable[[], str],
        names: Sequence[str],
        measures: Sequence[str],
        steps: int | None,
        seconds: float = LINE_SECONDS,
    ) -> None:
        self._console, self._title, self._names, self._measures, self._steps = console, title, names, measures, steps
        self._seconds = seconds
        self._records: list[Record] = []
        self._experience = 0
        self._last_time = time.monotonic()

    def write(self, item: Event | Record | Boundary) -> None:
        if isinstance(item, Record):
            self._records.append(item)
        elif isinstance(item, Boundary):
            if item.trained_on >= 0:
                measure = self._measures[0]
                row = _row(self._records, measure, item.trained_on)
                self._print_line(item.trained_on, item.step, f"{measure_named(measure).name}: {row}" if row else "")
        elif time.monotonic() - self._last_time > self._seconds:
            values = ", ".join(f"{k} {v:.4g}" for k, v in item.values.items())
            self._print_line(self._experience, item.step, values)

    def step(self, step: int, experience: int) -> None:
        self._experience = experience

    def _print_line(self, experience: int, step: int, text: str) -> None:
        self._last_time = time.monotonic()
        total = f" of {self._steps:,}" if self._steps else ""
        place = f"experience {experience + 1}/{len(self._names)} ({self._names[experience]})"
        self._console.print(f"{self._title()}  {place}  step {step:,}{total}  {text}", soft_wrap=True)


class TerminalProgress(Sink):
    """Progress as a bar with experience, step, rate and remaining time."""

    def __init__(
        self, console: Console, title: str, names: Sequence[str], measures: Sequence[str], steps: int | None
    ) -> None:
        self._names, self._measures, self._title = names, measures, title
        self._records: list[Record] = []
        self._bar = Bar(
            TextColumn("{task.fields[title]}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps" if steps else "{task.completed:,.0f} steps"),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[latest]}", markup=False),
            console=console,
            transient=True,
        )
        self._task: TaskID = self._bar.add_task("", total=steps, title=title, rate="", latest="")
        self._next_update = 0.0
        self._bar.start()

    def write(self, item: Event | Record | Boundary) -> None:
        if isinstance(item, Record):
            self._records.append(item)
        elif isinstance(item, Event):
            rate = next(
                (
                    f"{v:,.0f} {k.removesuffix('_per_second')}/s"
                    for k, v in item.values.items()
                    if k.endswith("_per_second")
                ),
                "",
            )
            latest = {k: v for k, v in item.values.items() if k in ("loss", "episode_return")}
            self._update(rate=rate.replace("_", " "), latest=" ".join(f"{k} {v:.3g}" for k, v in latest.items()))
        elif item.trained_on >= 0:
            row = _row(self._records, self._measures[0], item.trained_on)
            measure = measure_named(self._measures[0]).name
            self._bar.console.print(
                Text.assemble(f"{self._title}  ", (self._names[item.trained_on], "bold"), f"  {measure} {row}")
            )

    def step(self, step: int, experience: int) -> None:
        now = time.monotonic()
        if now < self._next_update:
            return
        self._next_update = now + BAR_SECONDS
        place = f"{self._title}  {experience + 1}/{len(self._names)} {self._names[experience]}"
        self._update(completed=step, title=place)

    def _update(self, **fields: Any) -> None:
        self._bar.update(self._task, **fields)

    def close(self) -> None:
        self._bar.stop()
