"""Runs published protocols and says whether the numbers come out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from rlcl.errors import Problem, RlclError
from rlcl.experiment import Experiment
from rlcl.launch.seeds import run_experiment
from rlcl.reproduction.batched_regression import run_together
from rlcl.reproduction.published import Protocol
from rlcl.reproduction.sides import Drawn, Row, Run, Side, Target
from rlcl.reproduction.targets import TARGETS
from rlcl.strict_json import json_text
from rlcl.tracking.folder import write_atomically
from rlcl.tracking.json_files import read_json

__all__ = ["kind_of_row", "markdown", "read_results", "reproduce", "write_results"]

CODE = ("protocol", "metric", "side")  # columns of names


def reproduce(protocol: Protocol, root: Path, console: Console) -> Row:
    """Runs what is missing of a protocol's sides and seeds, reads the rest, and judges it.

    Args:
        protocol: as :func:`rlcl.reproduction.published.load_protocol` gives it.
        root: the folder of all runs.
        console: progress goes there.

    Raises:
        Interrupted: a signal came; the same call goes on.
        RlclError: anything that a person can mend, for example a metric that these runs do not define.
    """
    run = run_together if protocol.together else run_side
    sides = {name: run(experiment, root, console) for name, experiment in protocol.sides.items()}
    try:
        return protocol.target.judge(sides)
    except Problem as problem:
        raise RlclError(f"{protocol.name}: {problem}") from problem


def run_side(experiment: Experiment, root: Path, console: Console) -> Side:
    """Runs every seed of an experiment in turn, as ``rlcl run`` does."""
    finished = run_experiment(experiment, root, console)
    runs = [
        Run(outcome=one.outcome, path=one.path, seconds=float(read_json(one.path / "summary.json")["seconds"]))
        for one in finished
    ]
    git = read_json(finished[0].path / "manifest.json").get("git")
    return Side(experiment=experiment, runs=tuple(runs), git=git)


def read_results(path: Path) -> dict[str, Any]:
    """The rows of a results file, by protocol; none where there is no file.

    Raises:
        RlclError: the file is another one.
    """
    rows = read_json(path).get("rows")
    if path.exists() and not isinstance(rows, dict):
        raise RlclError(f"{path} holds no results of rlcl reproduce; name another file with --results")
    return rows or {}


def write_results(path: Path, rows: Mapping[str, Row]) -> None:
    """Puts rows into a results file, where those of other protocols stay, and tables and pictures beside it.

    Args:
        path: the JSON file; the tables have the suffix ``.md``, and the pictures are in a folder without one.
        rows: to add or to replace, by protocol.

    Raises:
        RlclError: it cannot be written, or is another file.
    """
    everything = dict(sorted({**read_results(path), **rows}.items()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for name, row in rows.items():
            _write_figure(path, name, row)
        write_atomically(path, compact({"command": "rlcl reproduce", "rows": everything}))
        write_atomically(path.with_suffix(".md"), markdown(everything, path.stem))
    except OSError as error:
        raise RlclError(f"cannot write {path}: {error.strerror}; name another file with --results") from error


def _write_figure(path: Path, name: str, row: Row) -> None:
    import matplotlib

    kind = kind_of_row(row)
    if issubclass(kind, Drawn):
        folder = path.with_suffix("")
        folder.mkdir(exist_ok=True)
        # The same row gives the same bytes: no date, and names of parts that are not drawn at random.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
            kind.figure(name, row).savefig(folder / f"{name}.svg", metadata={"Date": None})


def compact(content: Any) -> str:
    """JSON with a line for each list of numbers."""
    text = json_text(content, indent=2)
    return re.sub(r"\[[\s\d.,eE+\-nul]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text) + "\n"


def kind_of_row(row: Row) -> type[Target]:
    """The kind of target that a row was held against."""
    return TARGETS[row["target"].get("type", "mean")]


def markdown(rows: Mapping[str, Row], pictures: str = "") -> str:
    """The rows of a results file as Markdown: a section for each kind of target.

    Args:
        rows: by protocol.
        pictures: the folder that they are in, beside the file.
    """
    lines = ["# Published numbers, and ours", "", "Made by `rlcl reproduce`.", ""]
    for kind in TARGETS.values():
        found = {name: row for name, row in rows.items() if kind_of_row(row) is kind}
        if found:
            lines += [f"## {kind.heading}", "", *kind.rule, "", *_table(kind, found), ""]
            drawn = found if issubclass(kind, Drawn) else ()
            lines += [line for name in drawn for line in (f"![{name}]({pictures}/{name}.svg)", "")]
    sources = sorted({row["target"]["source"] for row in rows.values()})
    return "\n".join([*lines, "Sources:", "", *(f"- {source}" for source in sources), ""])


def _table(kind: type[Target], rows: Mapping[str, Row]) -> list[str]:
    lines = [line for name, row in rows.items() for line in kind.lines(name, row)]
    quoted = ({key: f"`{cell}`" if key in CODE and cell else cell for key, cell in line.items()} for line in lines)
    head, *body = (f"| {' | '.join(cells)} |" for cells in (lines[0], *(line.values() for line in quoted)))
    return [head, f"|{'---|' * len(lines[0])}", *body]
