"""Display of a search: its space, and a line for each trial that ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from attrs import define, field
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlcl.errors import RunFolderError
from rlcl.study.progress_display import format_duration
from rlcl.study.tuning.definition import Tuning
from rlcl.study.tuning.search_space import Choices, Range
from rlcl.study.tuning.study import Journal
from rlcl.study.tuning.trial_queue import EndedTrial

__all__ = ["SearchLines", "parameters_text", "search_table", "trials_text"]

STATES: Mapping[str, str] = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING"}


def parameters_text(values: Mapping[str, Any]) -> str:
    """Return the values of a trial, with the last part of each key."""
    return "  ".join(f"{name.rpartition('.')[2]}={_value_text(value)}" for name, value in values.items())


def _value_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def trials_text(tuning: Tuning, journal: Journal) -> str:
    """Return the number of trials by state, and the distribution of their values."""
    trials = journal.trials()
    counts = {text: sum(trial.state.name == state for trial in trials) for text, state in STATES.items()}
    parts = [f"{count} {text}" for text, count in counts.items() if count]
    for index, target in enumerate(tuning.targets):
        values = sorted(trial.values[index] for trial in trials if trial.state.name == "COMPLETE")
        if values:
            parts.append(f"{target.name} from {values[0]:.4g} to {values[-1]:.4g}, median {median(values):.4g}")
    return f"{len(trials)} trials: {'; '.join(parts)}"


def search_table(tuning: Tuning) -> Table:
    """Return the search space, the protocol and the objectives as a table."""
    definition = tuning.definition
    table = Table(box=None, pad_edge=False, show_header=False)
    for parameter in tuning.parameters:
        table.add_row(Text(parameter.name), Text(_domain_text(parameter.domain)))
    first = "" if definition.first is None else f", first {definition.first} experiences"
    seeds = ", ".join(map(str, tuning.seeds))
    pruner = "" if definition.pruner == "none" else f" with {definition.pruner}"
    table.add_row("trials", f"{definition.trials} by {definition.sampler}{pruner}")
    data = f"{definition.validation:g} of the training data" if tuning.holds_out else "the environments"
    table.add_row("evaluated on", f"{data}, seed {seeds}{first}")
    table.add_row("objective", ", ".join(("minimize " if t.minimize else "maximize ") + t.name for t in tuning.targets))
    return table


def _domain_text(domain: Choices | Range) -> str:
    if isinstance(domain, Choices):
        return ", ".join(domain.labels)
    kind = " ".join(filter(None, ("integer" if domain.integer else "", "logarithmic" if domain.log else "")))
    step = "" if domain.step is None else f", step {domain.step:g}"
    return f"{domain.low:g} to {domain.high:g}{step}{f' ({kind})' if kind else ''}"


@define(eq=False)
class SearchLines:
    """Display that prints a line for each trial that ends.

    Args:
        console: console for the lines.
        tuning: the search.
    """

    console: Console
    tuning: Tuning
    _began: float = field(init=False, factory=time.monotonic)
    _ended_before: int | None = field(init=False, default=None)  # trials of earlier calls

    def show(self, journal: Journal, ended: EndedTrial | None = None) -> None:
        if ended is None and self._ended_before is not None:
            return
        done = sum(trial.state.is_finished() for trial in journal.trials())
        if self._ended_before is None:
            self._ended_before = done
            if done:
                self.console.print(f"resuming after {done} of {journal.planned} trials")
        if ended is None:
            return
        parts = [
            f"{done}/{journal.planned}",
            f"trial {ended.trial.number}",
            self._result(ended),
            parameters_text(ended.trial.values),
            self._best(journal),
            self._remaining(done, journal.planned),
            ended.reason,
        ]
        self.console.print(Text("  ".join(filter(None, parts))), soft_wrap=True)

    def _result(self, ended: EndedTrial) -> str:
        if ended.state != "complete":
            return ended.state
        pairs = zip(self.tuning.targets, ended.values, strict=True)
        return "  ".join(f"{target.name} {value:.4g}" for target, value in pairs)

    def _best(self, journal: Journal) -> str:
        try:
            best = journal.best()
        except RunFolderError:
            return ""
        return f"best {best.values[0]:.4g} (trial {best.number})"

    def _remaining(self, done: int, planned: int) -> str:
        new = done - (self._ended_before or 0)
        if new <= 0 or done >= planned:
            return ""
        return f"about {format_duration((time.monotonic() - self._began) / new * (planned - done))} left"
