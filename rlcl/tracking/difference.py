"""Differences between two runs: settings, versions, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from attrs import frozen

from rlcl.errors import RunFolderError
from rlcl.tracking.runs import StoredRun, dotted_keys

__all__ = ["Difference", "difference"]

ABSENT = "absent"


@frozen
class Difference:
    """The differences between two runs, or between two groups of seeds, and the metrics of both.

    Args:
        config: both values of each setting that differs, by key; ``"absent"`` if one config has no such key.
        versions: both values of packages, Python, code, data and hardware that differ, by name.
        metrics: both means over seeds of each metric, by name; None if it is missing.
        seeds: numbers of finished seeds.
    """

    config: Mapping[str, tuple[Any, Any]]
    versions: Mapping[str, tuple[Any, Any]]
    metrics: Mapping[str, tuple[float | None, float | None]]
    seeds: tuple[int, int]


def difference(a: Sequence[StoredRun], b: Sequence[StoredRun]) -> Difference:
    """Compare two runs or two groups of seeds.

    Args:
        a: seeds of one experiment, at least one.
        b: seeds of the other experiment, at least one.

    Raises:
        RunFolderError: a group contains several experiments, or its config cannot be read.
    """
    for runs in (a, b):
        groups = sorted({str(run.group) for run in runs})
        if len(groups) > 1:
            raise RunFolderError(f"expected one experiment, got {len(groups)}; choose one of {', '.join(groups)}")
        if not runs[0].config:
            raise RunFolderError(f"{runs[0].path}: config.yaml cannot be read, so the run cannot be compared")
    names = list(dict.fromkeys(name for run in (*a, *b) for name in run.metrics))
    return Difference(
        _differing(*(dotted_keys(runs[0].config) for runs in (a, b))),
        _differing(*(dotted_keys(_versions(runs[0])) for runs in (a, b))),
        {name: (_mean(a, name), _mean(b, name)) for name in names},
        (sum(run.finished for run in a), sum(run.finished for run in b)),
    )


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = dict.fromkeys((*a, *b))
    pairs = {key: (a.get(key, ABSENT), b.get(key, ABSENT)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _versions(run: StoredRun) -> Mapping[str, Any]:
    """Return the entries of a manifest that do not refer to a single session."""
    names = ("packages", "python", "git", "data", "hardware")
    return {key: run.manifest[key] for key in names if key in run.manifest}


def _mean(runs: Sequence[StoredRun], name: str) -> float | None:
    values = [run.metrics[name] for run in runs if name in run.metrics]
    return fmean(values) if values else None
