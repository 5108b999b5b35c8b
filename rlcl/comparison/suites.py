"""What a suite calls its learners and streams, out of its ``suite.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlcl.comparison.identity import TRAINING, Labelled
from rlcl.tracking.runs import Run

__all__ = ["SUITE", "cells_without_run", "labelled", "suite_folders"]

SUITE = "suite.json"


def labelled(runs: Iterable[Run]) -> tuple[Mapping[Path, Labelled | None], int]:
    """The labels of runs that lie in a suite's folder; None for one that is no cell of it any more.

    Returns:
        By the run's path, and of how many suites they are.
    """
    found: dict[Path, Labelled | None] = {}
    suites: dict[Path, Mapping[str, Labelled]] = {}
    for run in runs:
        folder = run.path.parent.parent
        if folder not in suites:
            suites[folder] = _cells(_read(folder))
        if suites[folder]:
            found[run.path] = suites[folder].get(f"{run.path.parent.name}/{run.path.name}")
    return found, sum(map(bool, suites.values()))


def cells_without_run(folder: Path) -> list[str]:
    """Cells of a suite's folder that have no run yet."""
    cells = _read(folder).get("cells", [])
    return [str(folder / row["run"]) for row in _rows(cells) if not (folder / row["run"]).is_dir()]


def suite_folders(name: str, root: Path) -> list[Path]:
    """The folders of a suite of that name: one, or one for each budget that it was run with."""
    ours = [folder for folder in (root / name, *sorted(root.glob(f"{name}-*"))) if (folder / SUITE).is_file()]
    return [f for f in ours if f.name == "-".join(filter(None, (name, str(_read(f).get("budget", "")))))]


def _read(folder: Path) -> Mapping[str, Any]:
    """A suite's file; empty where there is none, or it is damaged."""
    if not (folder / SUITE).is_file():
        return {}
    from rlcl.tracking.json_files import read_json  # brings torch along

    return read_json(folder / SUITE)


def _rows(cells: Any) -> list[Mapping[str, Any]]:
    """What can be read of a list of cells; the file may be damaged."""
    rows = [row for row in cells if isinstance(row, dict)] if isinstance(cells, list) else []
    return [row for row in rows if isinstance(row.get("run"), str) and isinstance(row.get("labels"), dict)]


def _cells(suite: Mapping[str, Any]) -> Mapping[str, Labelled]:
    definition = suite.get("definition")
    sweep = definition.get("sweep", {}) if isinstance(definition, dict) else {}
    streams = {name for name, values in sweep.items() if _of_stream(name, values)}
    varied = {key for name, values in sweep.items() if name not in streams for key in _keys(name, values)}
    return {
        row["run"]: Labelled(
            ", ".join(str(label) for axis, label in row["labels"].items() if axis not in streams),
            ", ".join(str(label) for axis, label in row["labels"].items() if axis in streams),
            tuple(sorted(varied)),
        )
        for row in _rows(suite.get("cells"))
    }


def _of_stream(name: str, values: Any) -> bool:
    """Whether an axis varies what learners are compared on: its key says so, or the keys that it changes."""
    if name.split(".", maxsplit=1)[0] == "stream":
        return name.rpartition(".")[2] not in TRAINING
    changed = [change["stream"] for change in _changes(values) if "stream" in change]
    return any(not isinstance(stream, dict) or set(stream) - set(TRAINING) for stream in changed)


def _keys(name: str, values: Any) -> set[str]:
    return {name} | {key for change in _changes(values) for key in change}


def _changes(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values.values() if isinstance(value, dict)] if isinstance(values, dict) else []
