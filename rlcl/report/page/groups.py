"""What a page is about: experiments, each with its seeds, read so that none of them breaks the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import define, frozen

from rlcl.errors import RlclError
from rlcl.evaluation import MEASURES
from rlcl.evaluation.results import Array, Results, measure_named
from rlcl.objective import Objective, Result, Verdict, stated, verdict
from rlcl.statistics.intervals import Summary, summarize
from rlcl.tracking.folder import read_json, read_records
from rlcl.tracking.jsonlines import read_lines
from rlcl.tracking.runs import Run, dotted
from rlcl.types import Record

__all__ = ["Group", "Seed", "Unreadable", "cells_of", "distinguished", "grouped", "labels"]

EMPTY: tuple[Any, ...] = (None, {}, [])
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
            for row in read_lines(self.run.path / "events.jsonl"):
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
        label: sets it apart from the others of the page.
        seeds: those that are shown: the finished ones, or all that can be read where none is finished.
        others: the runs that are not shown, with the reason.
        axes: where it is a cell of a suite, what it has of each axis.
    """

    label: str
    seeds: tuple[Seed, ...]
    others: tuple[Unreadable, ...]
    axes: Mapping[str, str] = attrs.field(factory=dict)

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

    @property
    def measure(self) -> str:
        """The decisive one."""
        return self.measures[0]

    @property
    def sign(self) -> int:
        """1 where the decisive measure is better when it is higher, else -1."""
        return 1 if measure_named(self.measure).higher_is_better else -1

    def results(self, measure: str | None = None) -> list[Results]:
        """One a seed."""
        return [Results(seed.records, measure or self.measure) for seed in self.seeds]

    @cached_property
    def summaries(self) -> Mapping[str, Summary]:
        """Each metric that all finished seeds have, with its interval over them."""
        found = [seed.run.metrics for seed in self.seeds if seed.run.finished]
        names = [name for name in (found[0] if found else {}) if all(name in metrics for metrics in found)]
        return {name: summarize([metrics[name] for metrics in found]) for name in names}

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
    """The runs by experiment, with labels that set them apart; those that cannot be read are kept with the reason."""
    by_folder: dict[Path, list[Run]] = {}
    for run in runs:
        by_folder.setdefault(run.group, []).append(run)
    read = [_read(members) for members in by_folder.values()]
    axes = [_axes(folder) for folder in by_folder]
    configs = [next((run.config for run in members if run.config), {}) for members in by_folder.values()]
    named = [", ".join(told.values()) for told in axes]
    if not all(named) or len(set(named)) < len(named):
        named = list(labels(configs))
    return tuple(Group(label, *found, told) for label, found, told in zip(named, read, axes, strict=True))


def _axes(folder: Path) -> Mapping[str, str]:
    """What a cell of a suite has of each axis; nothing outside of a suite."""
    for cell in cells_of(read_json(folder.parent / "suite.json")):
        if cell.get("hash") == folder.name and isinstance(cell.get("labels"), dict):
            return {str(axis): str(label) for axis, label in cell["labels"].items()}
    return {}


def cells_of(suite: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cells that ``rlcl bench`` noted in ``suite.json``; none where it is damaged."""
    cells = suite.get("cells")
    return [cell for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []


def _read(runs: Iterable[Run]) -> tuple[tuple[Seed, ...], tuple[Unreadable, ...]]:
    seeds, others = [], []
    for run in runs:
        if run.fault:
            others.append(Unreadable(run, run.fault))
            continue
        try:
            records = read_records(run.path)
            Seed(run, records).seconds  # noqa: B018  raises where it is damaged
        except (RlclError, TypeError, OSError) as error:
            others.append(Unreadable(run, str(error)))
            continue
        seeds.append(Seed(run, records))
    if any(seed.run.finished for seed in seeds):
        others += [Unreadable(s.run, _why(s.run)) for s in seeds if not s.run.finished]
        seeds = [seed for seed in seeds if seed.run.finished]
    return tuple(seeds), tuple(others)


def _why(run: Run) -> str:
    told = "; ".join(map(str, run.values("error")))
    return f"{run.state} at step {run.status.get('step', 0):,}{': ' if told else ''}{told}"


def labels(configs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A short name of each config: the experiment's, where names set them apart, and else what differs."""
    names = [str(config.get("name", "")) for config in configs]
    made = list(names)
    for name in dict.fromkeys(names):
        members = [i for i, other in enumerate(names) if other == name]
        if len(members) > 1:
            told = distinguished([configs[i] for i in members])
            alone = len(members) == len(configs) or not name
            for i, text in zip(members, told, strict=True):
                made[i] = text if alone else ": ".join(filter(None, [name, text]))
    return tuple(made)


def distinguished(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What sets configs apart: the kinds of their parts, then settings, and in the end their number."""
    told = [[aspect(config) for config in configs] for aspect in (_learner, _methods, _stream)]
    differing = [texts for texts in told if len(set(texts)) > 1]
    made = [", ".join(parts) for parts in zip(*differing, strict=True)] or [""] * len(configs)
    for same in dict.fromkeys(made):
        members = [i for i, text in enumerate(made) if text == same]
        if len(members) > 1:
            for i, text in zip(members, _settings([configs[i] for i in members]), strict=True):
                made[i] = ", ".join(filter(None, [same, text]))
    return [text if made.count(text) == 1 else f"{text} #{i + 1}".strip() for i, text in enumerate(made)]


def _learner(config: Mapping[str, Any]) -> str:
    learner = config.get("learner") or {}
    inner = learner.get("algorithm") or learner.get("strategy") or ""
    return f"{learner.get('type', '?')}{' ' if inner else ''}{inner}"


def _methods(config: Mapping[str, Any]) -> str:
    methods = (config.get("learner") or {}).get("methods") or []
    return " + ".join(str(m.get("type")) for m in methods if isinstance(m, Mapping)) or "no method"


def _stream(config: Mapping[str, Any]) -> str:
    stream = config.get("stream") or {}
    data = stream.get("data") or {}
    source = data.get("type") if isinstance(data, Mapping) else None
    return f"{stream.get('type', '?')} {source or stream.get('env') or ''}".strip()


def _settings(configs: Sequence[Mapping[str, Any]], most: int = 3) -> list[str]:
    """The first settings that differ, ``optimizer.lr 0.01, network.hidden [64]``; names say nothing of what is done."""
    flat = [dotted({k: v for k, v in c.items() if k not in ("name", "objective", "seeds")}) for c in configs]
    keys = dict.fromkeys(key for f in flat for key in f if not key.endswith(".name"))
    shown = [key for key in keys if len({str(f.get(key)) for f in flat}) > 1][:most]
    return [", ".join(f"{'.'.join(k.split('.')[-2:])} {f[k]}" for k in shown if f.get(k) not in EMPTY) for f in flat]
