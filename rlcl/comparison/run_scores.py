"""Score of a single run by the metric of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from rlcl.errors import Problem, RunFolderError, did_you_mean
from rlcl.evaluation.metric_meaning import MetricMeaning, main_metric
from rlcl.tracking.runs import StoredRun

__all__ = ["RunMetric", "RunScore", "raise_no_metric", "run_metric", "unusable_reason"]


@frozen
class RunScore:
    """A finished run with its score in a comparison.

    Args:
        run: the stored run.
        learner, stream: short names of the learner and the stream.
        metric: name of the metric.
        meaning: meaning of the metric.
        value: value of the metric, as the run reports it.
    """

    run: StoredRun
    learner: str
    stream: str
    metric: str
    meaning: MetricMeaning
    value: float

    @property
    def seed(self) -> int:
        """The seed from the folder's name; without one, the seed from the manifest."""
        return self.run.seed if self.run.seed >= 0 else int(self.run.manifest.get("seed", -1))


@frozen
class RunMetric:
    """A metric of one run, with its meaning and value if they are known.

    Args:
        metric: name of the metric, as requested.
        meaning: meaning of the metric; None if it is unknown.
        value: value of the metric; None if the run does not define it.
    """

    metric: str
    meaning: MetricMeaning | None
    value: float | None

    @property
    def missing_reason(self) -> str:
        """The reason why the run cannot be compared by the metric; empty if it can."""
        if self.value is None:
            return f"does not define {self.metric}"
        if self.meaning is None:
            return (
                f"does not record whether higher or lower values of {self.metric} are better; rlcl run computes the "
                "metrics again"
            )
        return ""


def run_metric(run: StoredRun, metric: str | None) -> RunMetric:
    """Return a metric of a usable run, by default the average of its first measure."""
    measures = [str(measure) for measure in run.summary["measures"]]
    name = metric or main_metric(run.meanings) or main_metric(run.available_meanings) or f"{measures[0]}.average"
    # Metrics of forgetting and transfer have no prefix if they are computed from the first measure.
    unprefixed = name.removeprefix(f"{measures[0]}.")
    stored_name = unprefixed if name not in run.metrics and unprefixed in run.metrics else name
    value = run.metrics.get(stored_name, _recomputed_value(run, measures, stored_name))
    finite = None if value is None or not math.isfinite(value) else float(value)
    return RunMetric(name, run.meaning(stored_name), finite)


def unusable_reason(run: StoredRun) -> str:
    """Return the reason why a run cannot be compared with any other run; empty if it can."""
    if run.fault:
        return f"corrupt: {run.fault}"
    if not run.finished:
        error = str(run.status.get("error", "")).partition("\n")[0]
        return f"{run.state}{f': {error}' if error else ''}"
    if not run.config.get("learner") or not run.config.get("stream"):
        return "corrupt: config.yaml cannot be read"
    if not run.manifest.get("data"):
        return "corrupt: manifest.json contains no hash of the data"
    if not isinstance(run.summary["measures"], list) or not run.summary["measures"]:
        return "corrupt: summary.json contains no measures"
    return ""


def _recomputed_value(run: StoredRun, measures: Sequence[str], name: str) -> float | None:
    """Compute a metric from the records of a run that is configured to report other metrics only."""
    if name in run.metrics or not run.summary.get("names"):
        return None
    from rlcl.evaluation.results import metrics
    from rlcl.tracking.folder import read_results

    try:
        return metrics(read_results(run.path), measures, [name]).get(name)
    except (Problem, RunFolderError):
        return None


def raise_no_metric(runs: Sequence[StoredRun], metric: str | None) -> None:
    """Raise RunFolderError for a metric that none of the runs has; the message suggests similar metrics."""
    known = {name for run in runs for name in run.metrics}
    name = run_metric(runs[0], metric).metric
    raise RunFolderError(f"--metric {name}: none of {len(runs)} runs has it{did_you_mean(name, known)}")
