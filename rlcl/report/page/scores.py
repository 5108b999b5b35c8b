"""Which experiments of a page can be set side by side: the same measure, on the same streams."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen

from rlcl.evaluation.results import Array, measure_named
from rlcl.report.page.groups import Group, distinguished

__all__ = ["Comparison", "comparisons"]

STREAMS = ("stream", "budget", "validation")  # keys whose axes say what is learned; the others say how
HOW = ("num_envs", "vectorization")  # of a stream: how it is run


@frozen(eq=False)
class Comparison:
    """Learners on streams by one measure.

    Args:
        measure: decisive for all of them.
        learners: names, the best first.
        streams: names.
        groups: by learner and stream.
        scores: (runs, streams) of each learner that has finished on all streams, higher being better.
        scaled: whether the scores were brought to [0, 1] within each stream.
    """

    measure: str
    learners: tuple[str, ...]
    streams: tuple[str, ...]
    groups: Mapping[tuple[str, str], Group]
    scores: Mapping[str, Array]
    scaled: bool

    @property
    def metric(self) -> str:
        """What the scores are."""
        return f"{measure_named(self.measure).name}.average"


def comparisons(groups: Sequence[Group]) -> list[Comparison]:
    """One for each decisive measure of the groups."""
    return [_comparison([g for g in groups if g.measure == m], m) for m in dict.fromkeys(g.measure for g in groups)]


def _comparison(groups: Sequence[Group], measure: str) -> Comparison:
    learners = _named(groups, ("learner", "encoder", "boundary"), False)
    streams = _named(groups, STREAMS, True)
    cells = dict(zip(zip(learners, streams, strict=True), groups, strict=True))
    if len(cells) < len(groups):  # of the same learner and stream by another setting
        learners = [group.label for group in groups]
        cells = dict(zip(zip(learners, streams, strict=True), groups, strict=True))
    names, columns = tuple(dict.fromkeys(learners)), tuple(dict.fromkeys(streams))
    raw = {name: found for name in names if (found := _scores(cells, name, columns, measure)) is not None}
    scaled = len(columns) > 1 and any(s.min() < 0 or s.max() > 1 for s in raw.values())
    if scaled:
        low = np.min([s.min(0) for s in raw.values()], 0)
        high = np.max([s.max(0) for s in raw.values()], 0)
        raw = {name: (s - low) / np.where(high > low, high - low, 1) for name, s in raw.items()}
    best = sorted(names, key=lambda name: -float(raw[name].mean()) if name in raw else np.inf)
    return Comparison(measure, tuple(best), columns, cells, raw, scaled)


def _scores(cells: Mapping[tuple[str, str], Group], learner: str, streams: Sequence[str], measure: str) -> Array | None:
    """(runs, streams): as many runs as each stream has; None where a stream has none."""
    metric = f"{measure_named(measure).name}.average"
    columns = []
    for stream in streams:
        group = cells.get((learner, stream))
        found = [s.run.metrics[metric] for s in group.seeds if metric in s.run.metrics] if group else []
        columns.append(found)
    runs = min(map(len, columns))
    return np.array([column[:runs] for column in columns]).T if runs else None


def _named(groups: Sequence[Group], keys: Sequence[str], streams: bool) -> list[str]:
    """A name for the learner, or the stream, of each group by those parts of its config alone; equal have equal names.

    Cells of a suite are named by its axes.
    """
    chosen = _stream_axes(groups)
    axes = [", ".join(v for axis, v in g.axes.items() if (axis in chosen) == streams) for g in groups]
    if all(axes):
        return axes
    parts = [{key: group.config.get(key) for key in keys} for group in groups]
    texts = [json.dumps(part, sort_keys=True, default=str) for part in parts]
    distinct = dict(zip(texts, parts, strict=True))
    if len(distinct) == 1:
        kind = parts[0][keys[0]]
        return [str(kind.get("type", keys[0])) if isinstance(kind, Mapping) else keys[0]] * len(texts)
    named = dict(zip(distinct, distinguished(list(distinct.values())), strict=True))
    return [named[text] or "as it is" for text in texts]


def _stream_axes(groups: Sequence[Group]) -> frozenset[str]:
    """The axes of a suite that say what is learned: those of its keys, or the coarsest that decides the stream."""
    axes = dict.fromkeys(axis for group in groups for axis in group.axes)
    told = [axis for axis in axes if axis.split(".")[0] in STREAMS]
    what = [{k: v for k, v in (g.config.get("stream") or {}).items() if k not in HOW} for g in groups]
    texts = [json.dumps(stream, sort_keys=True, default=str) for stream in what]
    if told or len(set(texts)) == 1:
        return frozenset(told)
    for axis in sorted(axes, key=lambda axis: len({g.axes.get(axis) for g in groups})):
        pairs = {(group.axes.get(axis), text) for group, text in zip(groups, texts, strict=True)}
        if len(pairs) == len({label for label, _ in pairs}):
            return frozenset([axis])
    return frozenset()
