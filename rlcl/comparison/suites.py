"""Labels of the learners and streams of a suite, from its ``suite.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlcl.comparison.config_parts import TRAINING_SETTINGS, SuiteLabels
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import StoredRun

__all__ = ["SUITE", "cell_runs", "cells_without_run", "suite_folders", "suite_labels"]

SUITE = "suite.json"


def suite_labels(runs: Iterable[StoredRun]) -> tuple[Mapping[Path, SuiteLabels | None], int]:
    """Return the labels of the runs in a suite's folder; None for a run that is no longer a cell of its suite.

    Returns:
        The labels by path of the run, and the number of suites that the runs belong to.
    """
    labels: dict[Path, SuiteLabels | None] = {}
    suites: dict[Path, Mapping[str, SuiteLabels]] = {}
    for run in runs:
        folder = run.path.parent.parent
        if folder not in suites:
            suites[folder] = _labels_by_run(_read_suite(folder))
        if suites[folder]:
            labels[run.path] = suites[folder].get(f"{run.path.parent.name}/{run.path.name}")
    return labels, sum(map(bool, suites.values()))


def cell_runs(folder: Path) -> list[Path]:
    """Return the run folders of all cells of a suite's folder, also those that do not exist yet."""
    return [folder / cell["run"] for cell in _valid_cells(_read_suite(folder).get("cells", []))]


def cells_without_run(folder: Path) -> list[str]:
    """Return the cells of a suite's folder that have no run yet, as paths of the missing runs."""
    return [str(run) for run in cell_runs(folder) if not run.is_dir()]


def suite_folders(name: str, root: Path) -> list[Path]:
    """Return the folders of the suite with this name: a single one, or one for each budget of its runs."""
    candidates = [folder for folder in (root / name, *sorted(root.glob(f"{name}-*"))) if (folder / SUITE).is_file()]
    return [f for f in candidates if f.name == "-".join(filter(None, (name, str(_read_suite(f).get("budget", "")))))]


def _read_suite(folder: Path) -> Mapping[str, Any]:
    """Return the content of a suite's file; empty if the file is absent or damaged."""
    if not (folder / SUITE).is_file():
        return {}
    return read_json(folder / SUITE)


def _valid_cells(cells: Any) -> list[Mapping[str, Any]]:
    """Return the readable cells of a list, since the file may be damaged."""
    mappings = [cell for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []
    return [c for c in mappings if isinstance(c.get("run"), str) and isinstance(c.get("labels"), dict)]


def _labels_by_run(suite: Mapping[str, Any]) -> Mapping[str, SuiteLabels]:
    definition = suite.get("definition")
    sweep = definition.get("sweep", {}) if isinstance(definition, dict) else {}
    stream_axes = {name for name, values in sweep.items() if _varies_stream(name, values)}
    varied = {key for name, values in sweep.items() if name not in stream_axes for key in _varied_keys(name, values)}
    return {
        cell["run"]: SuiteLabels(
            ", ".join(str(label) for axis, label in cell["labels"].items() if axis not in stream_axes),
            ", ".join(str(label) for axis, label in cell["labels"].items() if axis in stream_axes),
            tuple(sorted(varied)),
        )
        for cell in _valid_cells(suite.get("cells"))
    }


def _varies_stream(name: str, values: Any) -> bool:
    """Return whether an axis varies the stream, by its name or by the settings that its values change."""
    if name.split(".", maxsplit=1)[0] == "stream":
        return name.rpartition(".")[2] not in TRAINING_SETTINGS
    stream_changes = [change["stream"] for change in _changes(values) if "stream" in change]
    return any(not isinstance(change, dict) or set(change) - set(TRAINING_SETTINGS) for change in stream_changes)


def _varied_keys(name: str, values: Any) -> set[str]:
    return {name} | {key for change in _changes(values) for key in change}


def _changes(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values.values() if isinstance(value, dict)] if isinstance(values, dict) else []
