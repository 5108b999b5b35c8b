"""Runs published protocols and says whether the numbers come out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
from attrs import frozen
from rich.console import Console

from rlcl.errors import RlclError
from rlcl.evaluation.statistics import Summary, summarize
from rlcl.launch.local import run_experiment
from rlcl.launch.published import Protocol
from rlcl.tracking.folder import read_json, write_atomically
from rlcl.training.trainer import Outcome

__all__ = ["Reproduced", "markdown", "read_results", "reproduce", "write_results"]

Verdict = Literal["reproduced", "differs", "not judged"]


@frozen(kw_only=True)
class Reproduced:
    """What a protocol came to.

    Args:
        protocol: that was run.
        values: of the target's metric, one a seed.
        git: revision that the first seed was run with, and whether it was dirty; None outside a repository.
        outcomes: of the runs, one a seed.
        seconds: wall time of each run, evaluations included.
    """

    protocol: Protocol
    values: tuple[float, ...]
    git: Mapping[str, Any] | None = None
    outcomes: tuple[Outcome, ...] = ()
    seconds: tuple[float, ...] = ()

    @property
    def R(self) -> list[list[float | None] | None]:  # noqa: N802
        """Mean over seeds, (T, J); None where a cell, or a whole row, was not measured."""
        if not self.outcomes:
            return []
        mean = np.mean([outcome.R for outcome in self.outcomes], axis=0)
        rows = [[None if math.isnan(cell) else round(float(cell), 6) for cell in row] for row in mean]
        return [None if row.count(None) == len(row) else row for row in rows]

    @property
    def metrics(self) -> dict[str, float]:
        """Means over seeds of every metric that all seeds define."""
        found = [outcome.metrics for outcome in self.outcomes]
        names = [name for name in found[0] if all(name in each for each in found)] if found else []
        return {name: round(float(np.mean([each[name] for each in found])), 6) for name in names}

    @property
    def summary(self) -> Summary:
        """Our mean with its Student interval."""
        return summarize(self.values)

    @property
    def difference(self) -> float:
        """Our mean minus the published one."""
        return self.summary.mean - self.protocol.target.value

    @property
    def allowed(self) -> float:
        """The largest difference that passes; the error of a single seed is unknown and counts as none."""
        count = len(self.values)
        error = float(np.std(self.values, ddof=1)) / math.sqrt(count) if count > 1 else 0.0
        return self.protocol.target.allowed(error)

    @property
    def verdict(self) -> Verdict:
        if not self.protocol.target.decides:
            return "not judged"
        return "reproduced" if abs(self.difference) <= self.allowed else "differs"

    def row(self) -> dict[str, Any]:
        """As the results file holds it."""
        found, alone = self.summary, len(self.values) == 1
        return {
            "target": attrs.asdict(self.protocol.target),
            "ours": found.mean,
            "interval": None if alone else [found.low, found.high],
            "seeds": list(self.protocol.experiment.seeds),
            "values": list(self.values),
            "difference": self.difference,
            "allowed": self.allowed,
            "verdict": self.verdict,
            "hash": self.protocol.experiment.hash,
            "git": self.git,
            "seconds": [round(seconds, 1) for seconds in self.seconds],
            "metrics": self.metrics,
            "R": self.R,
        }


def reproduce(protocol: Protocol, root: Path, console: Console) -> Reproduced:
    """Runs what is missing of a protocol's seeds, and reads the rest.

    Args:
        protocol: as :func:`rlcl.launch.published.load_protocol` gives it.
        root: the folder of all runs.
        console: progress goes there.

    Raises:
        Interrupted: a signal came; the same call goes on.
        RlclError: anything that a person can mend, for example a metric that these runs do not define.
    """
    finished = run_experiment(protocol.experiment, root, console)
    metric = protocol.target.metric
    for one in finished:
        if metric not in one.outcome.metrics:
            known = ", ".join(one.outcome.metrics) or "none"
            raise RlclError(f"{protocol.name}: target.metric: {one.path} has no {metric}; its metrics: {known}")
    values = tuple(one.outcome.metrics[metric] for one in finished)
    return Reproduced(
        protocol=protocol,
        values=values,
        git=read_json(finished[0].path / "manifest.json").get("git"),
        outcomes=tuple(one.outcome for one in finished),
        seconds=tuple(float(read_json(one.path / "summary.json")["seconds"]) for one in finished),
    )


def read_results(path: Path) -> dict[str, Any]:
    """The rows of a results file, by protocol; none where there is no file.

    Raises:
        RlclError: the file is another one.
    """
    rows = read_json(path).get("rows")
    if path.exists() and not isinstance(rows, dict):
        raise RlclError(f"{path} holds no results of rlcl reproduce; name another file with --results")
    return rows or {}


def write_results(path: Path, reproduced: Sequence[Reproduced]) -> None:
    """Puts rows into a results file, where those of other protocols stay, and a table of all beside it.

    Args:
        path: the JSON file; the table has the suffix ``.md``.
        reproduced: rows to add or to replace.

    Raises:
        RlclError: it cannot be written, or is another file.
    """
    rows = {**read_results(path), **{one.protocol.name: one.row() for one in reproduced}}
    rows = dict(sorted(rows.items()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, compact({"command": "rlcl reproduce", "rows": rows}))
        write_atomically(path.with_suffix(".md"), markdown(rows))
    except OSError as error:
        raise RlclError(f"cannot write {path}: {error.strerror}; name another file with --results") from error


def compact(content: Any) -> str:
    """JSON with a line for each row of R."""
    text = json.dumps(content, indent=2)
    return re.sub(r"\[[\s\d.,eE+\-nul]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text) + "\n"


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows of a results file as a Markdown table."""
    lines = [
        "# Published numbers, and ours",
        "",
        "Made by `rlcl reproduce`. A row is reproduced where the two means differ by no more than is allowed:",
        "two standard errors of the difference, or a tolerance where that is more. Intervals are Student's,",
        "at 95 %, over seeds. Time is the median of a seed. R and all metrics of each row stand in the JSON file.",
        "",
        "| protocol | metric | published | ours | interval | seeds | difference | allowed | verdict | time |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        target = row["target"]
        error = "" if target["error"] is None else f" ± {target['error']:.4f}"
        interval = "" if row["interval"] is None else "{:.4f} to {:.4f}".format(*row["interval"])
        cells = [f"`{name}`", f"`{target['metric']}`", f"{target['value']:.4f}{error}", f"{row['ours']:.4f}", interval]
        cells += [str(len(row["seeds"])), f"{row['difference']:+.4f}", f"{row['allowed']:.4f}", row["verdict"]]
        cells.append(f"{np.median(row['seconds']):.0f} s" if row.get("seconds") else "")
        lines.append(f"| {' | '.join(cells)} |")
    sources = sorted({row["target"]["source"] for row in rows.values()})
    return "\n".join([*lines, "", "Sources:", "", *(f"- {source}" for source in sources), ""])
