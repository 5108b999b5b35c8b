"""Means and intervals over the seeds of one config, as a separate run for TensorBoard."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from rlcl.errors import Problem, RunFolderError
from rlcl.evaluation.results import TASK, measure_named
from rlcl.lock import LOCK, locked
from rlcl.sinks.labels import experience_label
from rlcl.sinks.tensorboard.baseline_curves import write_baseline_board
from rlcl.sinks.tensorboard.layout import margins, seeds_layout
from rlcl.sinks.tensorboard.learner_images import spread_indices
from rlcl.statistics.intervals import SeedSummary, summarize
from rlcl.tracking.folder import read_events, read_records
from rlcl.tracking.json_files import read_json
from rlcl.types import Costs

__all__ = ["Curves", "run_curves", "seed_intervals", "write_seed_board"]

MAX_POINTS = 500  # of a curve
# Events that are averaged over seeds; means of others (speeds, learning rates) are not informative.
EVENTS = re.compile(r"episode_return|([^/]*_)?loss")
COSTS = frozenset(attribute.name for attribute in attrs.fields(Costs))  # metrics that are not averaged
FOLDER = "tensorboard"

Curves = Mapping[str, Mapping[int, float]]  # values by tag and step
Intervals = Mapping[str, Mapping[int, SeedSummary]]  # by tag and step


def write_seed_board(folder: Path) -> None:
    """Write means and intervals over the finished seeds of a config, and the boards of their baselines.

    It is called whenever a seed has finished, so the last one to finish includes all.

    Args:
        folder: folder of the config, with ``seed0``, ``seed1``, ...; with fewer than two finished seeds, its subfolder
            ``tensorboard`` is removed.
    """
    with locked(folder / LOCK, wait=True):  # seeds may finish at the same time
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        finished = [
            path for path in sorted(folder.glob("seed*")) if read_json(path / "status.json").get("state") == "finished"
        ]
        for path in finished:
            write_baseline_board(path)
        seeds = [curves for path in finished if (curves := _readable_curves(path)) is not None]
        if len(seeds) > 1:
            _write(folder / FOLDER, seed_intervals(seeds))


def _readable_curves(run: Path) -> Curves | None:
    """Return the curves of a run, or None if it is damaged; a damaged run must not hide the others."""
    try:
        return run_curves(run)
    except (RunFolderError, LookupError, TypeError, Problem):
        return None


def run_curves(run: Path) -> Curves:
    """Return a run's curves by the tags of its own board: measures by experience, learner metrics, and events."""
    summary = read_json(run / "summary.json")
    names, measures = summary.get("experiences", []), summary.get("measures", [])
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for record in read_records(run):
        if record.metric in measures:
            name, index = measure_named(record.metric).name, record.evaluated_on
            curves[f"{name}/{experience_label(index, names[index])}"][record.step] = record.value
        elif record.metric not in COSTS and record.metric != TASK:
            curves[f"learner/{record.metric}"][record.step] = record.value
    for row in read_events(run):
        for name, value in row.items():
            if EVENTS.fullmatch(name):
                curves[f"train/{name}"][row["step"]] = value
    return curves


def seed_intervals(seeds: Sequence[Curves]) -> Intervals:
    """Compute the mean and interval of each curve that all seeds have, at the steps that all have, at most 500.

    Args:
        seeds: curves of at least two seeds.
    """
    intervals = {}
    for tag in seeds[0]:
        steps = sorted(set.intersection(*(set(curves.get(tag, ())) for curves in seeds)))
        if steps:
            shown = [steps[index] for index in spread_indices(len(steps), MAX_POINTS)]
            intervals[tag] = {step: summarize([curves[tag][step] for curves in seeds]) for step in shown}
    return intervals


def _write(folder: Path, intervals: Intervals) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        writer._get_file_writer().add_summary(seeds_layout(sorted(intervals)))
        for tag, by_step in intervals.items():
            value, lower, upper = margins(tag)
            for step, summary in by_step.items():
                writer.add_scalar(value, summary.mean, step)
                writer.add_scalar(lower, summary.low, step)
                writer.add_scalar(upper, summary.high, step)
