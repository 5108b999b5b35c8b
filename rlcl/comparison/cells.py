"""One run and its number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from rlcl.errors import Problem, RunFolderError, did_you_mean
from rlcl.tracking.runs import Run

__all__ = ["Cell", "measured_by", "no_metric"]


@frozen
class Cell:
    """A finished run and its number.

    Args:
        run: its folder.
        learner, stream: short names.
        metric: what the value is of.
        measure: that the metric is made of.
        value: as it is reported.
    """

    run: Run
    learner: str
    stream: str
    metric: str
    measure: str
    value: float

    @property
    def seed(self) -> int:
        """That the folder's name gives, or else the manifest."""
        return self.run.seed if self.run.seed >= 0 else int(self.run.manifest.get("seed", -1))


def measured_by(run: Run, metric: str | None) -> tuple[str, str, float | None]:
    """Metric, the measure that it is made of, and its value, None where the run does not define it."""
    measures = [str(measure) for measure in run.summary["measures"]]
    name = metric or _principal(run, measures[0])
    measure = next((m for m in measures if name.startswith(f"{m}.")), measures[0])
    own = name.removeprefix(f"{measures[0]}.")  # of the first measure forgetting and transfer carry no prefix
    name = own if name not in run.metrics and own in run.metrics else name
    value = run.metrics.get(name, _recomputed(run, measures, name))
    return metric or name, measure, None if value is None or not math.isfinite(value) else float(value)


def _principal(run: Run, measure: str) -> str:
    """The average of a run's first measure, which a file of the user's may define under another name."""
    if ":" not in measure:
        return f"{measure}.average"
    return next((name for name in run.metrics if name.endswith(".average")), f"{measure}.average")


def _recomputed(run: Run, measures: Sequence[str], name: str) -> float | None:
    """Out of the records, where the run was told to report other metrics only."""
    if name in run.metrics or not run.summary.get("names"):
        return None
    from rlcl.evaluation.results import metrics
    from rlcl.tracking.folder import read_records

    try:
        return metrics(read_records(run.path), measures, [name]).get(name)
    except (Problem, RunFolderError):
        return None


def no_metric(runs: Sequence[Run], metric: str | None) -> None:
    """Raises RunFolderError for a metric that none of the runs has, with the nearest that one has."""
    known = {name for run in runs for name in run.metrics}
    name = metric or measured_by(runs[0], None)[0]
    raise RunFolderError(f"--metric {name}: none of {len(runs)} runs has it{did_you_mean(name, known)}")
