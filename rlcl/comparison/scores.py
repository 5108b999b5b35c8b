"""One number a run, by learner, stream and seed; what cannot be compared is refused with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen

from rlcl.comparison.cells import Cell, measured_by, no_metric
from rlcl.comparison.fairness import check_cells, check_data, check_protocols, check_versions, nothing_common
from rlcl.comparison.identity import Identity, identify, labels
from rlcl.comparison.suites import labelled
from rlcl.errors import RunFolderError
from rlcl.tracking.runs import Run, check_known

__all__ = ["Scores", "gather"]

LOWER = "forgetting"  # metrics that are better the lower they are; losses are negated where they are measured
# Measures between 0 and 1, which may be averaged over streams as they are.
UNIT_MEASURES = frozenset({"accuracy", "linear_probe", "nearest_neighbours", "adjusted_rand", "mutual_information"})

Array = np.ndarray[Any, Any]


@frozen
class Scores:
    """What there is to compare.

    Args:
        cells: one a run; no two of the same learner, stream and seed.
        learners, streams: short names, in the order in which they were given.
        left_out: runs that are not compared, with the reason.
        remarks: what a reader should know of them.
        lower: whether lower is better; by default as the metric's name tells.
    """

    cells: tuple[Cell, ...]
    learners: tuple[str, ...]
    streams: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    lower: bool | None = None
    _table: Mapping[tuple[str, str], Mapping[int, float]] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        table: dict[tuple[str, str], dict[int, float]] = {}
        for cell in sorted(self.cells, key=lambda cell: cell.seed):
            table.setdefault((cell.learner, cell.stream), {})[cell.seed] = cell.value
        object.__setattr__(self, "_table", table)

    def values(self, learner: str, stream: str) -> Mapping[int, float]:
        """By seed, in their order."""
        return self._table.get((learner, stream), {})

    def metric(self, stream: str) -> str:
        return next(cell.metric for cell in self.cells if cell.stream == stream)

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        lower = LOWER in self.cells[0].metric.split(".") if self.lower is None else self.lower
        return -1 if lower else 1

    @property
    def overall(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The learners and streams that are compared over all streams.

        Every stream, and the learners that were run on each, where they are two; else the streams that all share.
        """
        whole = tuple(name for name in self.learners if all(self.values(name, stream) for stream in self.streams))
        if len(whole) > 1 or whole == self.learners:
            return whole, self.streams
        return self.learners, tuple(s for s in self.streams if all(self.values(name, s) for name in self.learners))

    @property
    def common(self) -> tuple[str, ...]:
        """The streams of :attr:`overall`."""
        return self.overall[1]

    @property
    def unit(self) -> bool:
        """Whether values lie between 0 and 1 on every stream (differences of such: -1 and 1)."""
        return all(cell.measure in UNIT_MEASURES for cell in self.cells)

    def seeds(self, learner: str) -> tuple[tuple[int, ...], ...]:
        """Those that count on each common stream: as many of each as there are of the one with the fewest."""
        each = [tuple(self.values(learner, stream)) for stream in self.common]
        fewest = min(map(len, each), default=0)
        return tuple(seeds[:fewest] for seeds in each)

    def table(self, learner: str) -> Array:
        """(N, M): of :meth:`seeds` on the :attr:`common` streams, higher being better."""
        columns = [
            [self.values(learner, stream)[seed] for seed in seeds]
            for stream, seeds in zip(self.common, self.seeds(learner), strict=True)
        ]
        return self.sign * np.array(columns, dtype=np.float64).T


def gather(runs: Iterable[Run], metric: str | None = None, by: Sequence[str] = (), lower: bool | None = None) -> Scores:
    """Reads runs and sorts them by learner and stream.

    Args:
        runs: in any order; the same folder may come twice.
        metric: as runs report it; the average of each stream's first measure by default.
        by: keys of the config that make the learner; by default all of learner, encoder and boundary policy.
        lower: whether lower values of the metric are better; by default those of forgetting are.

    Raises:
        RunFolderError: no run can be compared, or none has the metric or a key.
        UnsupportedError: they cannot be compared: other data, budgets, measures or definitions.
    """
    different = {run.path.resolve(): run for run in runs}
    usable, left_out = _usable(different.values())
    for key in by:
        check_known(key, usable, "--by")
    cells_of, suites = labelled(usable)
    left_out += [(str(path), "no cell of its suite any more") for path, cell in cells_of.items() if cell is None]
    usable = [run for run in usable if cells_of.get(run.path, True)]
    # Labels of two suites may mean different things: beside others, settings alone say what is what.
    one = suites == 1 and len(cells_of) >= len(usable)
    identities = [identify(run, metric, by, cells_of[run.path] if one else None) for run in usable]
    check_protocols(usable, identities)
    check_versions(usable)
    names = _named(usable, identities, by)
    measured = [measured_by(run, metric) for run in usable]
    absent = [run for run, (_, _, value) in zip(usable, measured, strict=True) if value is None]
    if len(absent) == len(usable):
        no_metric(usable, metric)
    cells = tuple(
        Cell(run, learner, stream, name, measure, value)
        for run, (learner, stream), (name, measure, value) in zip(usable, names, measured, strict=True)
        if value is not None
    )
    left_out += [(str(run.path), f"does not define {metric or measured[0][0]}") for run in absent]
    check_cells(cells)
    if not any(key.split(".")[0] == "stream" for key in by):
        check_data(cells)
    scores = Scores(
        cells,
        tuple(dict.fromkeys(cell.learner for cell in cells)),
        tuple(dict.fromkeys(cell.stream for cell in cells)),
        tuple(left_out),
        tuple(_remarks(cells)),
        lower,
    )
    runs_on = {name: [s for s in scores.streams if scores.values(name, s)] for name in scores.learners}
    if len(runs_on) > 1 and all(sum(stream in on for on in runs_on.values()) < 2 for stream in scores.streams):
        nothing_common(runs_on)
    return scores


def _usable(runs: Iterable[Run]) -> tuple[list[Run], list[tuple[str, str]]]:
    """Finished runs, and the others with their reasons."""
    usable, left_out = [], []
    for run in runs:
        if run.fault:
            left_out.append((str(run.path), f"corrupt: {run.fault}"))
        elif not run.finished:
            error = str(run.status.get("error", "")).partition("\n")[0]
            left_out.append((str(run.path), f"{run.state}{f': {error}' if error else ''}"))
        elif not run.config.get("learner") or not run.config.get("stream"):
            left_out.append((str(run.path), "corrupt: config.yaml cannot be read"))
        elif not run.manifest.get("data"):
            left_out.append((str(run.path), "corrupt: manifest.json does not say which data it saw"))
        elif not isinstance(run.summary["measures"], list) or not run.summary["measures"]:
            left_out.append((str(run.path), "corrupt: summary.json names no measure"))
        else:
            usable.append(run)
    if not usable:
        told = "".join(f"\n{path}: {reason}" for path, reason in left_out)
        raise RunFolderError(f"no finished run to compare; rlcl run goes on with those that are not finished{told}")
    return usable, left_out


def _named(runs: Sequence[Run], identities: Sequence[Identity], by: Sequence[str]) -> list[tuple[str, str]]:
    """Short names of learner and stream, one pair a run."""
    learners = {each.learner_key: each.learner for each in identities}
    streams = {each.stream_key: each.stream for each in identities}
    roots: tuple[str, ...] = () if by else ("learner.type",)
    learner_names = dict(zip(learners, labels(list(learners.values()), roots), strict=True))
    names: dict[str, set[str]] = {}
    for run, each in zip(runs, identities, strict=True):
        names.setdefault(each.learner_key, set()).add(str(run.config.get("name")))
    own = {key: next(iter(found)) for key, found in names.items() if len(found) == 1}
    if not by and len(set(own.values())) == len(learners):  # the names that their experiments have tell them apart
        learner_names = own
    roots = ("stream.type", "stream.env", "stream.data.type")
    stream_names = dict(zip(streams, labels(list(streams.values()), roots), strict=True))
    return [(learner_names[each.learner_key], stream_names[each.stream_key]) for each in identities]


def _remarks(cells: Sequence[Cell]) -> list[str]:
    found = []
    for what, key in {"revisions of the code": "git", "versions of packages": "packages"}.items():
        different = {str(cell.run.manifest.get(key)) for cell in cells}
        if len(different) > 1:
            found.append(f"runs of {len(different)} different {what} are compared (rlcl runs diff tells which)")
    return found
