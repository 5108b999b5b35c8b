"""One run and its number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from rlcl.errors import Problem, RunFolderError, did_you_mean
from rlcl.evaluation.meaning import Meaning, decisive
from rlcl.tracking.runs import Run

__all__ = ["Cell", "Measured", "measured_by", "no_metric", "unusable"]


@frozen
class Cell:
    """A finished run and its number.

    Args:
        run: its folder.
        learner, stream: short names.
        metric: what the value is of.
        meaning: of the metric.
        value: as it is reported.
    """

    run: Run
    learner: str
    stream: str
    metric: str
    meaning: Meaning
    value: float

    @property
    def seed(self) -> int:
        """That the folder's name gives, or else the manifest."""
        return self.run.seed if self.run.seed >= 0 else int(self.run.manifest.get("seed", -1))


@frozen
class Measured:
    """What a run says of a metric.

    Args:
        metric: its name, as it was asked for.
        meaning: None where nothing says what it means.
        value: None where the run does not define it.
    """

    metric: str
    meaning: Meaning | None
    value: float | None

    @property
    def missing(self) -> str:
        """Why the run cannot be compared by it; empty where it can."""
        if self.value is None:
            return f"does not define {self.metric}"
        if self.meaning is None:
            return f"does not say whether higher or lower values of {self.metric} are better; rlcl run computes it anew"
        return ""


def measured_by(run: Run, metric: str | None) -> Measured:
    """A metric of a usable run; by default the average of its first measure."""
    measures = [str(measure) for measure in run.summary["measures"]]
    name = metric or decisive(run.meanings) or decisive(run.offered) or f"{measures[0]}.average"
    own = name.removeprefix(f"{measures[0]}.")  # of the first measure forgetting and transfer carry no prefix
    named = own if name not in run.metrics and own in run.metrics else name
    value = run.metrics.get(named, _recomputed(run, measures, named))
    return Measured(name, run.meaning(named), None if value is None or not math.isfinite(value) else float(value))


def unusable(run: Run) -> str:
    """Why a run cannot be compared with any other; empty where it can."""
    if run.fault:
        return f"corrupt: {run.fault}"
    if not run.finished:
        error = str(run.status.get("error", "")).partition("\n")[0]
        return f"{run.state}{f': {error}' if error else ''}"
    if not run.config.get("learner") or not run.config.get("stream"):
        return "corrupt: config.yaml cannot be read"
    if not run.manifest.get("data"):
        return "corrupt: manifest.json does not say which data it saw"
    if not isinstance(run.summary["measures"], list) or not run.summary["measures"]:
        return "corrupt: summary.json names no measure"
    return ""


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
    name = measured_by(runs[0], metric).metric
    raise RunFolderError(f"--metric {name}: none of {len(runs)} runs has it{did_you_mean(name, known)}")
