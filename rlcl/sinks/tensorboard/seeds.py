"""Means and intervals over the seeds of one config, as a run of their own beside them."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from rlcl.errors import Problem, RunFolderError
from rlcl.evaluation.results import measure_named
from rlcl.lock import locked
from rlcl.sinks.tensorboard.layout import margins, seeds_layout
from rlcl.sinks.tensorboard.learner_images import NAME, spread
from rlcl.statistics.intervals import Summary, summarize
from rlcl.tracking.folder import read_events, read_records
from rlcl.tracking.json_files import read_json
from rlcl.types import Costs

__all__ = ["Curves", "curves", "over_seeds", "write_seeds"]

POINTS = 500  # of a curve at most
# Of events these, for others (rates, learning rates) say little as means; of what is told at boundaries no costs.
EVENTS = re.compile(r"episode_return|(.*_)?loss")
COSTS = frozenset(attribute.name for attribute in attrs.fields(Costs))
FOLDER = "tensorboard"

Curves = Mapping[str, Mapping[int, float]]  # tags to steps to values
Bands = Mapping[str, Mapping[int, Summary]]


def write_seeds(folder: Path) -> None:
    """Writes what several finished seeds come to; they alone change it, so the last one to finish sees all.

    Args:
        folder: of one config, which holds ``seed0``, ``seed1``, ...; with fewer than two finished ones nothing
            is left in its ``tensorboard``.
    """
    with locked(folder, wait=True):  # seeds may finish at one moment
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        finished = [
            path for path in sorted(folder.glob("seed*")) if read_json(path / "status.json").get("state") == "finished"
        ]
        found = [read for path in finished if (read := _readable(path)) is not None]
        if len(found) > 1:
            _write(folder / FOLDER, over_seeds(found))


def _readable(run: Path) -> Curves | None:
    """A run's curves; None of a damaged one, which must not break the others."""
    try:
        return curves(run)
    except (RunFolderError, LookupError, TypeError, Problem):
        return None


def curves(run: Path) -> Curves:
    """A run's curves, as its own board calls them: each experience by each measure, their mean, and events."""
    summary = read_json(run / "summary.json")
    names, measures = summary.get("experiences", []), summary.get("measures", [])
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for record in read_records(run):
        if record.metric in measures:
            name, place = measure_named(record.metric).name, record.evaluated_on
            found[f"{name}/{place:02d} {names[place][:NAME]}"][record.step] = record.value
        elif record.metric not in COSTS:
            found[f"learner/{record.metric}"][record.step] = record.value
    for row in read_events(run):
        for name, value in row.items():
            if EVENTS.fullmatch(name):
                found[f"train/{name}"][row["step"]] = value
    return found


def over_seeds(seeds: Sequence[Curves]) -> Bands:
    """Mean and interval of each curve that all seeds have, at the steps that all have; at most 500 of them.

    Args:
        seeds: one's curves each, at least two.
    """
    bands = {}
    for tag in seeds[0]:
        steps = sorted(set.intersection(*(set(each.get(tag, ())) for each in seeds)))
        if steps:
            chosen = [steps[place] for place in spread(len(steps), POINTS)]
            bands[tag] = {step: summarize([each[tag][step] for each in seeds]) for step in chosen}
    return bands


def _write(folder: Path, bands: Bands) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        writer._get_file_writer().add_summary(seeds_layout(sorted(bands)))
        for tag, band in bands.items():
            value, lower, upper = margins(tag)
            for step, summary in band.items():
                writer.add_scalar(value, summary.mean, step)
                writer.add_scalar(lower, summary.low, step)
                writer.add_scalar(upper, summary.high, step)
