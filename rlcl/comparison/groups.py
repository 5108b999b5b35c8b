"""Experiments with their seeds; a damaged run does not affect the other runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, frozen

from rlcl.comparison.config_parts import distinct_names
from rlcl.comparison.run_labels import RunLabels, label_runs
from rlcl.comparison.run_scores import unusable_reason
from rlcl.errors import Problem, RlclError
from rlcl.evaluation import MEASURES
from rlcl.evaluation.measures import Measure
from rlcl.evaluation.metric_meaning import MetricMeaning, main_metric
from rlcl.evaluation.metrics import PERFORMANCE, Topic
from rlcl.evaluation.results import Array, Results, meanings, measure_named, pooled_metrics, undefined_metrics
from rlcl.objective import Objective, SeedResult, Verdict, judge_objective, objective_of
from rlcl.statistics.intervals import SeedSummary, summarize
from rlcl.tracking.folder import read_costs, read_events, read_results
from rlcl.tracking.runs import StoredRun, dotted_keys, trained_names
from rlcl.types import Record

__all__ = ["ExcludedRun", "SeedGroup", "SeedRun", "group_runs"]

NO_EFFECT = ("name", "objective", "seeds")  # keys of a config that have no effect on training
EventCurves = Mapping[str, tuple[Array, Array]]


@frozen
class ExcludedRun:
    """A run that no figure includes.

    Args:
        run: the stored run.
        reason: the reason why it is excluded.
    """

    run: StoredRun
    reason: str


@define(eq=False, slots=False)
class SeedRun:
    """The run of one seed with its records.

    Args:
        run: the stored run.
        records: all records of the run.
    """

    run: StoredRun
    records: tuple[Record, ...]

    @cached_property
    def events(self) -> EventCurves:
        """Steps and values that the learner logged, by name; empty if the file is damaged."""
        curves: dict[str, tuple[list[float], list[float]]] = {}
        try:
            for row in read_events(self.run.path):
                step = row.pop("step")
                row.pop("time", None)
                for name, value in row.items():
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(float(step))
                    values.append(float(value))
        except (RlclError, AttributeError, KeyError, TypeError, ValueError):
            return {}
        return {name: (np.array(steps), np.array(values)) for name, (steps, values) in curves.items()}

    @cached_property
    def seconds(self) -> Mapping[int, float]:
        """Wall time in seconds, by experience."""
        return {row["trained_on"]: row["seconds"] for row in read_costs(self.run.path)}


@define(eq=False, slots=False)
class SeedGroup:
    """All seeds of one experiment.

    Args:
        label: name that distinguishes the experiment from the other ones.
        seeds: seeds that figures include: the finished ones, or all readable ones if none is finished.
        excluded: runs that figures do not include, with the reasons.
        usable: finished runs that can be compared; the records of a usable run may still be damaged.
    """

    label: str
    seeds: tuple[SeedRun, ...]
    excluded: tuple[ExcludedRun, ...]
    usable: tuple[StoredRun, ...]

    @property
    def runs(self) -> tuple[StoredRun, ...]:
        """All runs, including the excluded ones."""
        return (*(seed.run for seed in self.seeds), *(excluded.run for excluded in self.excluded))

    @property
    def path(self) -> Path:
        """The folder of all seeds."""
        return self.runs[0].group

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The config of the first run whose config can be read; empty if there is none."""
        return next((run.config for run in self.runs if run.config), {})

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """Names of the learner's measures, the primary one first."""
        from_summary = next((tuple(s.run.summary["measures"]) for s in self.seeds if s.run.finished), None)
        if from_summary is not None:
            return from_summary
        recorded = dict.fromkeys(r.metric for seed in self.seeds for r in seed.records)
        return tuple(name for name in recorded if name in MEASURES or ":" in name)

    @cached_property
    def evaluated_names(self) -> tuple[str, ...]:
        """Names of the experiences evaluated; numbers if no run is finished."""
        from_summary = next((tuple(s.run.summary["experiences"]) for s in self.seeds if s.run.finished), None)
        if from_summary is not None:
            return from_summary
        count = 1 + max(
            (r.evaluated_on for s in self.seeds for r in s.records if r.metric in self.measures), default=-1
        )
        return tuple(f"experience {j + 1}" for j in range(count))

    @cached_property
    def trained_names(self) -> tuple[str, ...]:
        """Names of the experiences trained on; empty if no run is finished."""
        return next((trained_names(s.run.summary) for s in self.seeds if s.run.finished), ())

    @property
    def measure(self) -> str:
        """Name of the learner's primary measure."""
        return self.measures[0]

    @property
    def primary_measure(self) -> Measure:
        """The learner's primary measure."""
        return measure_named(self.measure)

    def results(self, measure: str | None = None) -> list[Results]:
        """Return the results of each seed for a measure, by default the primary one."""
        return [Results(seed.records, measure or self.measure) for seed in self.seeds]

    @cached_property
    def summaries(self) -> Mapping[str, SeedSummary]:
        """Mean and interval over the usable runs, for each metric that all of them have, and the pooled metrics."""
        metrics = [run.metrics for run in self.usable]
        names = [name for name in (metrics[0] if metrics else {}) if all(name in m for m in metrics)]
        return {name: summarize([m[name] for m in metrics]) for name in names} | dict(self._pooled)

    @cached_property
    def _pooled(self) -> Mapping[str, SeedSummary]:
        """Metrics that are computed from all usable runs together."""
        usable = {run.path for run in self.usable}
        records = [seed.records for seed in self.seeds if seed.run.path in usable]
        try:
            return pooled_metrics(records, self.measures, self._requested) if records else {}
        except Problem:  # a metric of a user's file that is no longer there
            return {}

    @property
    def _requested(self) -> tuple[str, ...]:
        """The setting ``evaluation.metrics``."""
        return tuple(dotted_keys(self.config).get("evaluation.metrics") or ())

    @cached_property
    def undefined(self) -> Mapping[str, str]:
        """Reasons why requested metrics are not defined for the first seed, by reported name."""
        try:
            return undefined_metrics(self.seeds[0].records, self.measures, self._requested) if self.seeds else {}
        except Problem:  # a metric of a user's file that is no longer there
            return {}

    @cached_property
    def meanings(self) -> Mapping[str, MetricMeaning]:
        """Meanings of the metrics in :attr:`summaries`, without metrics of unknown meaning."""
        pooled = meanings(self.measures, self._requested) if self._pooled else {}
        known = {name: pooled.get(name) or self.usable[0].meaning(name) for name in self.summaries}
        return {name: meaning for name, meaning in known.items() if meaning is not None}

    @property
    def main_metric(self) -> str | None:
        """The metric by which the experiment is compared; None if it has none."""
        return main_metric(self.meanings)

    def metrics_about(self, topic: Topic) -> tuple[str, ...]:
        """Return the metrics of a topic in their order; metrics of unknown meaning count as performance."""
        return tuple(
            n for n in self.summaries if (self.meanings[n].topic if n in self.meanings else PERFORMANCE) == topic
        )

    @cached_property
    def boundaries(self) -> tuple[tuple[int, float], ...]:
        """(index of the experience, step) at the end of each experience of the first seed."""
        if not self.seeds:
            return ()
        last: dict[int, float] = {}
        for record in self.seeds[0].records:
            if record.trained_on >= 0:
                last[record.trained_on] = max(record.step, last.get(record.trained_on, 0))
        return tuple(sorted(last.items()))

    @cached_property
    def objective(self) -> Objective:
        """The objective of the config; empty if it cannot be read."""
        return objective_of(self.config)

    @cached_property
    def verdict(self) -> Verdict | None:
        """The verdict on the objective over the finished seeds; None if the objective has no conditions."""
        finished = [seed for seed in self.seeds if seed.run.finished]
        results = [SeedResult.of(s.records, self.measures, s.run.metrics, s.run.summary) for s in finished]
        return judge_objective(self.objective, results) if self.objective.has_conditions else None

    @property
    def finished(self) -> bool:
        """Whether any seed is finished."""
        return any(seed.run.finished for seed in self.seeds)


def group_runs(runs: Sequence[StoredRun]) -> tuple[SeedGroup, ...]:
    """Group runs by experiment; unreadable runs become excluded runs with the reason.

    The labels are the names of learner and stream from :mod:`rlcl.comparison.run_labels`, as far as they differ.
    """
    by_folder: dict[Path, list[StoredRun]] = {}
    for run in runs:
        by_folder.setdefault(run.group, []).append(run)
    labels = _group_labels(by_folder)
    return tuple(SeedGroup(labels[folder], *_read_seeds(members)) for folder, members in by_folder.items())


def _group_labels(folders: Mapping[Path, Sequence[StoredRun]]) -> Mapping[Path, str]:
    """Return a label for each folder of runs."""
    by_run, _ = label_runs([run for members in folders.values() for run in members])
    by_folder = [next((by_run[r.path] for r in runs if r.path in by_run), None) for runs in folders.values()]
    configs = [_first_config(runs) for runs in folders.values()]
    experiments = [
        str(config.get("name") or folder.parent.name) for folder, config in zip(folders, configs, strict=True)
    ]
    names = [
        ", ".join(_varying_labels(labels, by_folder)) or experiment
        for labels, experiment in zip(by_folder, experiments, strict=True)
    ]
    if len(set(names)) < len(names) == len(set(experiments)):  # same learner and stream, but different experiments
        names = experiments
    flat = [dotted_keys({key: value for key, value in config.items() if key not in NO_EFFECT}) for config in configs]
    distinct = distinct_names(names, flat)
    pairs = zip(folders, distinct, strict=True)
    return {folder: name if distinct.count(name) == 1 else f"{name} {folder.name}" for folder, name in pairs}


def _varying_labels(labels: RunLabels | None, every: Sequence[RunLabels | None]) -> list[str]:
    """Return learner and stream of an experiment; each only if it differs between the experiments."""
    if labels is None:
        return []
    learners = {other.learner for other in every if other}
    streams = {other.stream for other in every if other}
    parts = [labels.learner] if len(learners) > 1 or len(streams) == 1 else []
    return [*parts, *([labels.stream] if len(streams) > 1 else [])]


def _first_config(runs: Sequence[StoredRun]) -> Mapping[str, Any]:
    return next((run.config for run in runs if run.config), {})


def _read_seeds(
    runs: Iterable[StoredRun],
) -> tuple[tuple[SeedRun, ...], tuple[ExcludedRun, ...], tuple[StoredRun, ...]]:
    """Return the seeds that figures include, the excluded runs, and the runs that can be compared."""
    seeds, excluded, usable = [], [], []
    for run in runs:
        reason = unusable_reason(run)
        if not reason:
            usable.append(run)
        if run.fault or (run.finished and reason):
            excluded.append(ExcludedRun(run, reason))
            continue
        try:
            records = read_results(run.path)
            SeedRun(run, records).seconds  # noqa: B018  raises if the file is damaged
        except (RlclError, TypeError, OSError) as error:
            excluded.append(ExcludedRun(run, str(error)))
            continue
        seeds.append(SeedRun(run, records))
    if usable:
        excluded += [ExcludedRun(s.run, unusable_reason(s.run)) for s in seeds if not s.run.finished]
        seeds = [seed for seed in seeds if seed.run.finished]
    return tuple(seeds), tuple(excluded), tuple(usable)
