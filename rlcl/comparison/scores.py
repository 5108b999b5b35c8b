"""Scores of runs by learner, stream and seed; unfair comparisons are rejected with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from attrs import field, frozen

from rlcl.comparison.fairness import (
    check_data,
    check_protocols,
    check_run_scores,
    check_versions,
    raise_no_common_stream,
)
from rlcl.comparison.run_labels import FORMER_CELL, RunLabels, label_runs
from rlcl.comparison.run_scores import RunMetric, RunScore, raise_no_metric, run_metric, unusable_reason
from rlcl.errors import RunFolderError
from rlcl.evaluation.metrics import Span
from rlcl.tracking.runs import StoredRun, check_key

__all__ = ["Scores", "gather_scores"]

Array = np.ndarray[Any, Any]


@frozen
class Scores:
    """The scores of all compared runs.

    Args:
        run_scores: one per run; no two have the same learner, stream and seed.
        learners, streams: short names, in the order of the runs.
        left_out: paths of the runs that are not compared, each with the reason.
        caveats: limitations of the comparison that follow from the runs.
    """

    run_scores: tuple[RunScore, ...]
    learners: tuple[str, ...]
    streams: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    caveats: tuple[str, ...] = ()
    _table: Mapping[tuple[str, str], Mapping[int, float]] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        table: dict[tuple[str, str], dict[int, float]] = {}
        for score in sorted(self.run_scores, key=lambda score: score.seed):
            table.setdefault((score.learner, score.stream), {})[score.seed] = score.value
        object.__setattr__(self, "_table", table)

    def values(self, learner: str, stream: str) -> Mapping[int, float]:
        """Return the values of a learner on a stream by seed, in ascending order of the seeds."""
        return self._table.get((learner, stream), {})

    def metric(self, stream: str) -> str:
        """Return the name of the metric on a stream."""
        return next(score.metric for score in self.run_scores if score.stream == stream)

    @property
    def sign(self) -> int:
        """1 if higher values are better, else -1."""
        return self.run_scores[0].meaning.sign

    @property
    def overall(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The learners and streams of the comparison over several streams.

        These are all streams and the learners with runs on every stream, if there are at least two such learners.
        Otherwise these are all learners and the streams that all learners share.
        """
        on_all = tuple(name for name in self.learners if all(self.values(name, stream) for stream in self.streams))
        if len(on_all) > 1 or on_all == self.learners:
            return on_all, self.streams
        return self.learners, tuple(s for s in self.streams if all(self.values(name, s) for name in self.learners))

    @property
    def common_streams(self) -> tuple[str, ...]:
        """The streams of :attr:`overall`."""
        return self.overall[1]

    @property
    def span(self) -> Span | None:
        """The range of the values; None if it is not known or not the same on all streams."""
        spans = {score.meaning.range for score in self.run_scores}
        return spans.pop() if len(spans) == 1 and self.run_scores[0].meaning.bounded else None

    @property
    def on_common_scale(self) -> bool:
        """Whether the values of all streams have the same known range, so that they may be averaged."""
        return self.span is not None

    def seeds(self, learner: str) -> tuple[tuple[int, ...], ...]:
        """Return the seeds of a learner on each common stream, cut to the number on the stream with the fewest."""
        by_stream = [tuple(self.values(learner, stream)) for stream in self.common_streams]
        count = min(map(len, by_stream), default=0)
        return tuple(seeds[:count] for seeds in by_stream)

    def table(self, learner: str) -> Array:
        """Return (N, M) values of :meth:`seeds` on the :attr:`common_streams`, where higher is better."""
        columns = [
            [self.values(learner, stream)[seed] for seed in seeds]
            for stream, seeds in zip(self.common_streams, self.seeds(learner), strict=True)
        ]
        return self.sign * np.array(columns, dtype=np.float64).T


def gather_scores(runs: Iterable[StoredRun], metric: str | None = None, by: Sequence[str] = ()) -> Scores:
    """Return the scores of runs by learner, stream and seed.

    Args:
        runs: runs in any order; repeated folders count once.
        metric: name of the metric, as runs report it; by default the average of the first measure of each stream.
        by: config keys that identify a learner; by default all settings of learner, encoder and boundary.

    Raises:
        RunFolderError: no run can be compared, or no run has the metric or one of the keys.
        UnsupportedError: the comparison is unfair: the runs have different data, budgets, measures or versions of the
            metrics.
    """
    different = {run.path.resolve(): run for run in runs}
    usable, left_out = _usable(different.values())
    for key in by:
        check_key(key, usable, "--by")
    metrics = {run.path: run_metric(run, metric) for run in usable}
    within = any(m.meaning is not None and m.meaning.within for m in metrics.values())
    labels, former = label_runs(different.values(), by, within)
    left_out += [(str(run.path), FORMER_CELL) for run in usable if run.path in former]
    usable = [run for run in usable if run.path not in former]
    if not usable:
        _raise_no_run(left_out)
    check_protocols(usable, [labels[run.path].parts for run in usable])
    check_versions(usable)
    if all(metrics[run.path].value is None for run in usable):
        raise_no_metric(usable, metric)
    left_out += [(str(run.path), reason) for run in usable if (reason := metrics[run.path].missing_reason)]
    run_scores = tuple(
        _run_score(labels[run.path], metrics[run.path]) for run in usable if not metrics[run.path].missing_reason
    )
    if not run_scores:
        _raise_no_run(left_out)
    check_run_scores(run_scores)
    if not any(key.split(".")[0] == "stream" for key in by):
        check_data(run_scores)
    scores = Scores(
        run_scores,
        tuple(dict.fromkeys(score.learner for score in run_scores)),
        tuple(dict.fromkeys(score.stream for score in run_scores)),
        tuple(left_out),
        tuple(_version_caveats(run_scores)),
    )
    runs_on = {name: [s for s in scores.streams if scores.values(name, s)] for name in scores.learners}
    if len(runs_on) > 1 and all(sum(stream in on for on in runs_on.values()) < 2 for stream in scores.streams):
        raise_no_common_stream(runs_on)
    return scores


def _usable(runs: Iterable[StoredRun]) -> tuple[list[StoredRun], list[tuple[str, str]]]:
    """Return the runs that can be compared, and the paths of the other runs with the reasons."""
    reasons = [(run, unusable_reason(run)) for run in runs]
    usable = [run for run, reason in reasons if not reason]
    left_out = [(str(run.path), reason) for run, reason in reasons if reason]
    if not usable:
        _raise_no_run(left_out)
    return usable, left_out


def _raise_no_run(left_out: Sequence[tuple[str, str]]) -> NoReturn:
    reasons = "".join(f"\n{path}: {reason}" for path, reason in left_out)
    raise RunFolderError(f"no finished run to compare; rlcl run resumes unfinished runs{reasons}")


def _run_score(labels: RunLabels, metric: RunMetric) -> RunScore:
    assert metric.meaning is not None
    assert metric.value is not None
    return RunScore(labels.run, labels.learner, labels.stream, metric.metric, metric.meaning, metric.value)


def _version_caveats(run_scores: Sequence[RunScore]) -> list[str]:
    caveats = []
    imported = sum(score.run.is_imported for score in run_scores)
    if imported:
        one = imported == 1
        caveats.append(
            f"{imported} run{' was' if one else 's were'} imported from another library: nothing here shows that "
            f"{'it was' if one else 'they were'} trained and evaluated as the others"
        )
    for items, key in {"revisions of the code": "git", "versions of packages": "packages"}.items():
        different = {str(score.run.manifest.get(key)) for score in run_scores if not score.run.is_imported}
        if len(different) > 1:
            caveats.append(f"the runs have {len(different)} different {items} (rlcl runs diff lists them)")
    return caveats
