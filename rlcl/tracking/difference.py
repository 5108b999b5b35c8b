"""What sets two runs apart: settings, versions, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from attrs import frozen

from rlcl.errors import RunFolderError
from rlcl.tracking.runs import Run, dotted

__all__ = ["Difference", "difference"]

ABSENT = "absent"


@frozen
class Difference:
    """Two runs, or two groups of seeds, beside each other; what is equal is left out but for the metrics.

    Args:
        config: key to both values; ``"absent"`` where one has no such key.
        versions: packages, Python, code, data and hardware that differ, by name.
        metrics: name to both means over seeds, None where one lacks it.
        seeds: finished seeds of each.
    """

    config: Mapping[str, tuple[Any, Any]]
    versions: Mapping[str, tuple[Any, Any]]
    metrics: Mapping[str, tuple[float | None, float | None]]
    seeds: tuple[int, int]


def difference(a: Sequence[Run], b: Sequence[Run]) -> Difference:
    """
    Args:
        a: seeds of one experiment, at least one.
        b: of another.

    Raises:
        RunFolderError: one of them is of several experiments, or its config cannot be read.
    """
    for runs in (a, b):
        groups = sorted({str(run.group) for run in runs})
        if len(groups) > 1:
            raise RunFolderError(f"{len(groups)} experiments where one is expected; choose one of {', '.join(groups)}")
        if not runs[0].config:
            raise RunFolderError(f"{runs[0].path}: config.yaml cannot be read, so that nothing can be compared with it")
    names = list(dict.fromkeys(name for run in (*a, *b) for name in run.metrics))
    return Difference(
        _differing(*(dotted(runs[0].config) for runs in (a, b))),
        _differing(*(dotted(_versions(runs[0])) for runs in (a, b))),
        {name: (_mean(a, name), _mean(b, name)) for name in names},
        (sum(run.finished for run in a), sum(run.finished for run in b)),
    )


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = dict.fromkeys((*a, *b))
    pairs = {key: (a.get(key, ABSENT), b.get(key, ABSENT)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _versions(run: Run) -> Mapping[str, Any]:
    """What of a manifest is not of one session alone."""
    chosen = ("packages", "python", "git", "data", "hardware")
    return {key: run.manifest[key] for key in chosen if key in run.manifest}


def _mean(runs: Sequence[Run], name: str) -> float | None:
    values = [run.metrics[name] for run in runs if name in run.metrics]
    return fmean(values) if values else None
