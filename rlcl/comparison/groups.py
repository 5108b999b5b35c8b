"""Experiments, each with its seeds, read so that none of them breaks the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, frozen

from rlcl.comparison.cells import unusable
from rlcl.comparison.identity import told_apart
from rlcl.comparison.naming import Place, places
from rlcl.errors import RlclError
from rlcl.evaluation import MEASURES
from rlcl.evaluation.meaning import Meaning, decisive
from rlcl.evaluation.measures import Measure
from rlcl.evaluation.metrics import PERFORMANCE, Topic
from rlcl.evaluation.results import Array, Results, measure_named
from rlcl.objective import Objective, Result, Verdict, stated, verdict
from rlcl.statistics.intervals import Summary, summarize
from rlcl.tracking.folder import read_events, read_records
from rlcl.tracking.jsonlines import read_lines
from rlcl.tracking.runs import Run, dotted, trained_names
from rlcl.types import Record

__all__ = ["Group", "Seed", "Unreadable", "grouped"]

UNTOLD = ("name", "objective", "seeds")  # keys of a config that do not change what is learned
Curves = Mapping[str, tuple[Array, Array]]


@frozen
class Unreadable:
    """A run that the page can only name.

    Args:
        run: its folder.
        reason: why.
    """

    run: Run
    reason: str


@define(eq=False, slots=False)
class Seed:
    """One run and its records.

    Args:
        run: its folder.
        records: all of them.
    """

    run: Run
    records: tuple[Record, ...]

    @cached_property
    def events(self) -> Curves:
        """Steps and values of everything that the learner said, by name; nothing where the file is damaged."""
        found: dict[str, tuple[list[float], list[float]]] = {}
        try:
            for row in read_events(self.run.path):
                step = row.pop("step")
                row.pop("time", None)
                for name, value in row.items():
                    steps, values = found.setdefault(name, ([], []))
                    steps.append(float(step))
                    values.append(float(value))
        except (RlclError, AttributeError, KeyError, TypeError, ValueError):
            return {}
        return {name: (np.array(steps), np.array(values)) for name, (steps, values) in found.items()}

    @cached_property
    def seconds(self) -> Mapping[int, float]:
        """On the wall, by experience."""
        rows = read_lines(self.run.path / "costs.jsonl")
        return {row["trained_on"]: row["seconds"] for row in rows if {"trained_on", "seconds"} <= row.keys()}


@define(eq=False, slots=False)
class Group:
    """All seeds of one experiment.

    Args:
        label: sets it apart from the others that are read with it.
        seeds: those that are shown: the finished ones, or all that can be read where none is finished.
        others: the runs that are not shown, with the reason.
        usable: the finished runs that can be compared; the records of one may be damaged all the same.
    """

    label: str
    seeds: tuple[Seed, ...]
    others: tuple[Unreadable, ...]
    usable: tuple[Run, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        return (*(seed.run for seed in self.seeds), *(other.run for other in self.others))

    @property
    def path(self) -> Path:
        return self.runs[0].group

    @cached_property
    def config(self) -> Mapping[str, Any]:
        return next((run.config for run in self.runs if run.config), {})

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """The learner's, the decisive one first."""
        told = next((tuple(s.run.summary["measures"]) for s in self.seeds if s.run.finished), None)
        if told is not None:
            return told
        found = dict.fromkeys(r.metric for seed in self.seeds for r in seed.records)
        return tuple(name for name in found if name in MEASURES or ":" in name)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the experiences evaluated."""
        told = next((tuple(s.run.summary["experiences"]) for s in self.seeds if s.run.finished), None)
        if told is not None:
            return told
        count = 1 + max(
            (r.evaluated_on for s in self.seeds for r in s.records if r.metric in self.measures), default=-1
        )
        return tuple(f"experience {j + 1}" for j in range(count))

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Of the experiences trained on, where a run is finished."""
        return next((trained_names(s.run.summary) for s in self.seeds if s.run.finished), ())

    @property
    def measure(self) -> str:
        """The decisive one."""
        return self.measures[0]

    @property
    def measured(self) -> Measure:
        """The decisive measure itself."""
        return measure_named(self.measure)

    def results(self, measure: str | None = None) -> list[Results]:
        """One a seed."""
        return [Results(seed.records, measure or self.measure) for seed in self.seeds]

    @cached_property
    def summaries(self) -> Mapping[str, Summary]:
        """Each metric that all usable runs have, with its interval over them."""
        found = [run.metrics for run in self.usable]
        names = [name for name in (found[0] if found else {}) if all(name in metrics for metrics in found)]
        return {name: summarize([metrics[name] for metrics in found]) for name in names}

    @cached_property
    def meanings(self) -> Mapping[str, Meaning]:
        """What these metrics mean, without those of which nothing says so."""
        told = {name: self.usable[0].meaning(name) for name in self.summaries}
        return {name: meaning for name, meaning in told.items() if meaning is not None}

    @property
    def decisive(self) -> str | None:
        """The metric that it is compared by; None where it has none."""
        return decisive(self.meanings)

    def about(self, topic: Topic) -> tuple[str, ...]:
        """The metrics of a topic, in their order; those that say nothing of themselves are of performance."""
        return tuple(
            n for n in self.summaries if (self.meanings[n].topic if n in self.meanings else PERFORMANCE) == topic
        )

    @cached_property
    def boundaries(self) -> tuple[tuple[int, float], ...]:
        """(trained on, step) at the end of each experience, of the first seed."""
        if not self.seeds:
            return ()
        last: dict[int, float] = {}
        for record in self.seeds[0].records:
            if record.trained_on >= 0:
                last[record.trained_on] = max(record.step, last.get(record.trained_on, 0))
        return tuple(sorted(last.items()))

    @cached_property
    def objective(self) -> Objective:
        """What was asked; nothing where it cannot be read."""
        return stated(self.config)

    @cached_property
    def verdict(self) -> Verdict | None:
        """On the objective, over the finished seeds; None where it asks nothing."""
        finished = [seed for seed in self.seeds if seed.run.finished]
        results = [Result.of(s.records, self.measures, s.run.metrics, s.run.summary) for s in finished]
        return verdict(self.objective, results) if self.objective.judged else None

    @property
    def finished(self) -> bool:
        return any(seed.run.finished for seed in self.seeds)


def grouped(runs: Sequence[Run]) -> tuple[Group, ...]:
    """The runs by experiment; those that cannot be read are kept with the reason.

    Labels are the learners' and streams' names of :mod:`rlcl.comparison.naming`, as far as these differ.
    """
    by_folder: dict[Path, list[Run]] = {}
    for run in runs:
        by_folder.setdefault(run.group, []).append(run)
    labels = _labels(by_folder)
    return tuple(Group(labels[folder], *_read(members)) for folder, members in by_folder.items())


def _labels(folders: Mapping[Path, Sequence[Run]]) -> Mapping[Path, str]:
    """A label for each folder of runs."""
    found, _ = places([run for members in folders.values() for run in members])
    placed = [next((found[r.path] for r in runs if r.path in found), None) for runs in folders.values()]
    configs = [_config(runs) for runs in folders.values()]
    own = [str(config.get("name") or folder.parent.name) for folder, config in zip(folders, configs, strict=True)]
    names = [", ".join(_parts(place, placed)) or name for place, name in zip(placed, own, strict=True)]
    if len(set(names)) < len(names) == len(set(own)):  # of one learner and stream, under a name each
        names = own
    flat = [dotted({key: value for key, value in config.items() if key not in UNTOLD}) for config in configs]
    apart = told_apart(names, flat)
    pairs = zip(folders, apart, strict=True)
    return {folder: name if apart.count(name) == 1 else f"{name} {folder.name}" for folder, name in pairs}


def _parts(place: Place | None, every: Sequence[Place | None]) -> list[str]:
    """Learner and stream of an experiment, as far as there are several of either."""
    if place is None:
        return []
    learners = {other.learner for other in every if other}
    streams = {other.stream for other in every if other}
    parts = [place.learner] if len(learners) > 1 or len(streams) == 1 else []
    return [*parts, *([place.stream] if len(streams) > 1 else [])]


def _config(runs: Sequence[Run]) -> Mapping[str, Any]:
    return next((run.config for run in runs if run.config), {})


def _read(runs: Iterable[Run]) -> tuple[tuple[Seed, ...], tuple[Unreadable, ...], tuple[Run, ...]]:
    """The seeds that are shown, the runs that are not, and the runs that can be compared."""
    seeds, others, usable = [], [], []
    for run in runs:
        reason = unusable(run)
        if not reason:
            usable.append(run)
        if run.fault or (run.finished and reason):
            others.append(Unreadable(run, reason))
            continue
        try:
            records = read_records(run.path)
            Seed(run, records).seconds  # noqa: B018  raises where it is damaged
        except (RlclError, TypeError, OSError) as error:
            others.append(Unreadable(run, str(error)))
            continue
        seeds.append(Seed(run, records))
    if usable:
        others += [Unreadable(s.run, unusable(s.run)) for s in seeds if not s.run.finished]
        seeds = [seed for seed in seeds if seed.run.finished]
    return tuple(seeds), tuple(others), tuple(usable)
