"""Curves that need the baselines of a run, as separate runs for TensorBoard beside the run's own board."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlcl.errors import Problem, RunFolderError
from rlcl.evaluation.results import Results, baseline_name, measure_named
from rlcl.sinks.labels import experience_label
from rlcl.tracking.folder import BASELINES, read_records, read_results
from rlcl.tracking.json_files import read_json
from rlcl.types import Record

__all__ = ["baseline_curves", "write_baseline_board"]

FOLDER = "tensorboard"
KIND = "single_task"


def write_baseline_board(run: Path) -> None:
    """Write the curves of a run's single-task runs, and its scores, which are known after these runs.

    The tags are those of the run's board, so that TensorBoard draws the curves into the same charts. Nothing is written
    for a run without baselines.

    Args:
        run: folder of a finished run; its subfolders ``tensorboard/single_task`` and ``tensorboard/scores`` are
            replaced.
    """
    from torch.utils.tensorboard import SummaryWriter

    try:
        every = baseline_curves(run)
    except (RunFolderError, LookupError, TypeError, Problem):  # a damaged run must not hide the others
        return
    for name, curves in every.items():
        shutil.rmtree(run / FOLDER / name, ignore_errors=True)
        with SummaryWriter(str(run / FOLDER / name)) as writer:
            for tag, values in curves.items():
                for step, value in values.items():
                    writer.add_scalar(tag, value, step)


def baseline_curves(run: Path) -> Mapping[str, Mapping[str, Mapping[int, float]]]:
    """Return values by name of the curves' run, tag and step.

    The curve of a single-task run begins where the training on its task begins, and keeps its last value to the end of
    the stream.
    """
    if not (run / BASELINES).is_file():
        return {}
    summary, own, every = read_json(run / "summary.json"), read_records(run), read_results(run)
    names, measures = summary.get("experiences", []), summary.get("measures", [])
    recorded = {record.metric for record in own}
    curves: dict[str, dict[str, dict[int, float]]] = {KIND: defaultdict(dict), "scores": defaultdict(dict)}
    starts, last = _first_starts(own, measures), max((record.step for record in own), default=0)
    for measure in measures:
        for column, name in enumerate(names):
            tag = f"{measure_named(measure).name}/{experience_label(column, name)}"
            alone = _values(every, baseline_name(KIND, measure), column)
            if alone and column in starts:
                moved = {step + starts[column]: value for step, value in alone.items()}
                final = max(moved)
                curves[KIND][tag] = moved if final >= last else {**moved, last: moved[final]}
            if measure not in recorded and (scores := _values(every, measure, column)):
                curves["scores"][tag] = scores
    return {name: tags for name, tags in curves.items() if tags}


def _values(records: Sequence[Record], metric: str, column: int) -> dict[int, float]:
    return {r.step: r.value for r in sorted(records, key=_step) if r.metric == metric and r.evaluated_on == column}


def _step(record: Record) -> int:
    return record.step


def _first_starts(records: Sequence[Record], measures: Sequence[str]) -> dict[int, int]:
    """Return the step at which the first training on each task begins, by column of R."""
    visits = next((visits for measure in measures if (visits := Results(records, measure).visits)), ())
    ends = {record.trained_on: record.step for record in sorted(records, key=_step)}
    return {task: ends.get(t - 1, 0) if t else 0 for t, task in reversed([*enumerate(visits)])}
