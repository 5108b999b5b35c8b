"""Execution of published protocols, their verdicts, and the results file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from rlcl.errors import Problem, RlclError
from rlcl.experiment import Experiment
from rlcl.launch.seeds import run_experiment
from rlcl.reproduction.batched_regression import run_seeds_together
from rlcl.reproduction.protocols import ReproductionProtocol
from rlcl.reproduction.targets import TARGETS
from rlcl.reproduction.types import ReproductionRun, ResultRow, SideResult, Target, TargetWithFigure
from rlcl.strict_json import json_text
from rlcl.tracking.folder import write_atomically
from rlcl.tracking.json_files import read_json

__all__ = ["kind_of_row", "markdown", "read_results", "reproduce", "write_results"]

CODE_COLUMNS = ("protocol", "metric", "side")  # columns of names, formatted as code


def reproduce(protocol: ReproductionProtocol, root: Path, console: Console) -> ResultRow:
    """Run the missing sides and seeds of a protocol, read the finished ones, and judge the results.

    Args:
        protocol: a protocol from :func:`rlcl.reproduction.protocols.load_protocol`.
        root: the folder of all runs.
        console: console for the progress.

    Raises:
        Interrupted: a signal was received; the same call resumes the runs.
        RlclError: an error that the user can fix, for example a metric that these runs do not define.
    """
    run = run_seeds_together if protocol.together else run_side
    sides = {name: run(experiment, root, console) for name, experiment in protocol.sides.items()}
    try:
        return protocol.target.judge(sides)
    except Problem as problem:
        raise RlclError(f"{protocol.name}: {problem}") from problem


def run_side(experiment: Experiment, root: Path, console: Console) -> SideResult:
    """Run every seed of an experiment like ``rlcl run``."""
    finished = run_experiment(experiment, root, console)
    runs = [
        ReproductionRun(
            outcome=run.outcome, path=run.path, seconds=float(read_json(run.path / "summary.json")["seconds"])
        )
        for run in finished
    ]
    git = read_json(finished[0].path / "manifest.json").get("git")
    return SideResult(experiment=experiment, runs=tuple(runs), git=git)


def read_results(path: Path) -> dict[str, Any]:
    """Read the rows of a results file, by protocol; empty if the file does not exist.

    Raises:
        RlclError: the file is not a results file.
    """
    rows = read_json(path).get("rows")
    if path.exists() and not isinstance(rows, dict):
        raise RlclError(f"{path} holds no results of rlcl reproduce; name another file with --results")
    return rows or {}


def write_results(path: Path, rows: Mapping[str, ResultRow]) -> None:
    """Add rows to a results file, and write tables and figures to the same folder; other protocols' rows stay.

    Args:
        path: the JSON file; the tables have the suffix ``.md``, and the figures are in a folder of the same name.
        rows: the rows to add or to replace, by protocol.

    Raises:
        RlclError: the file cannot be written, or is not a results file.
    """
    all_rows = dict(sorted({**read_results(path), **rows}.items()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for name, row in rows.items():
            _write_figure(path, name, row)
        write_atomically(path, compact_json({"command": "rlcl reproduce", "rows": all_rows}))
        write_atomically(path.with_suffix(".md"), markdown(all_rows, path.stem))
    except OSError as error:
        raise RlclError(f"cannot write {path}: {error.strerror}; name another file with --results") from error


def _write_figure(path: Path, name: str, row: ResultRow) -> None:
    import matplotlib

    kind = kind_of_row(row)
    if issubclass(kind, TargetWithFigure):
        folder = path.with_suffix("")
        folder.mkdir(exist_ok=True)
        # The same row gives the same bytes: the file has no date and no random element ids.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
            kind.figure(name, row).savefig(folder / f"{name}.svg", metadata={"Date": None})


def compact_json(content: Any) -> str:
    """Format JSON with each list of numbers on a single line."""
    text = json_text(content, indent=2)
    return re.sub(r"\[[\s\d.,eE+\-nul]*\]", lambda match: re.sub(r"\s+", " ", match[0]), text) + "\n"


def kind_of_row(row: ResultRow) -> type[Target]:
    """Return the kind of target that a row was compared with."""
    return TARGETS[row["target"].get("type", "mean")]


def markdown(rows: Mapping[str, ResultRow], figures: str = "") -> str:
    """Format the rows of a results file as Markdown, with a section for each kind of target.

    Args:
        rows: the rows, by protocol.
        figures: the folder of the figures, relative to the file.
    """
    lines = ["# Published and reproduced results", "", "Written by `rlcl reproduce`.", ""]
    for kind in TARGETS.values():
        rows_of_kind = {name: row for name, row in rows.items() if kind_of_row(row) is kind}
        if rows_of_kind:
            lines += [f"## {kind.heading}", "", *kind.rule, "", *_table(kind, rows_of_kind), ""]
            names = rows_of_kind if issubclass(kind, TargetWithFigure) else ()
            lines += [line for name in names for line in (f"![{name}]({figures}/{name}.svg)", "")]
    sources = sorted({row["target"]["source"] for row in rows.values()})
    return "\n".join([*lines, "Sources:", "", *(f"- {source}" for source in sources), ""])


def _table(kind: type[Target], rows: Mapping[str, ResultRow]) -> list[str]:
    lines = [line for name, row in rows.items() for line in kind.lines(name, row)]
    quoted = (
        {key: f"`{cell}`" if key in CODE_COLUMNS and cell else cell for key, cell in line.items()} for line in lines
    )
    head, *body = (f"| {' | '.join(cells)} |" for cells in (lines[0], *(line.values() for line in quoted)))
    return [head, f"|{'---|' * len(lines[0])}", *body]
