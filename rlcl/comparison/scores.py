"""One number a run, by learner, stream and seed; what cannot be compared is refused with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from attrs import field, frozen

from rlcl.comparison.cells import Cell, Measured, measured_by, no_metric, unusable
from rlcl.comparison.fairness import check_cells, check_data, check_protocols, check_versions, nothing_common
from rlcl.comparison.naming import NO_CELL, Place, places
from rlcl.errors import RunFolderError
from rlcl.evaluation.metrics import Span
from rlcl.tracking.runs import Run, check_known

__all__ = ["Scores", "gather"]

Array = np.ndarray[Any, Any]


@frozen
class Scores:
    """What there is to compare.

    Args:
        cells: one a run; no two of the same learner, stream and seed.
        learners, streams: short names, in the order in which they were given.
        left_out: runs that are not compared, with the reason.
        remarks: what a reader should know of them.
    """

    cells: tuple[Cell, ...]
    learners: tuple[str, ...]
    streams: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
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
        return self.cells[0].meaning.sign

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
    def span(self) -> Span | None:
        """Between which numbers values lie on every stream; None where that is not known, or not the same."""
        spans = {cell.meaning.range for cell in self.cells}
        return spans.pop() if len(spans) == 1 and self.cells[0].meaning.bounded else None

    @property
    def unit(self) -> bool:
        """Whether values of all streams are on one scale as they are, and may be averaged."""
        return self.span is not None

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


def gather(runs: Iterable[Run], metric: str | None = None, by: Sequence[str] = ()) -> Scores:
    """Reads runs and sorts them by learner and stream.

    Args:
        runs: in any order; the same folder may come twice.
        metric: as runs report it; the average of each stream's first measure by default.
        by: keys of the config that make the learner; by default all of learner, encoder and boundary policy.

    Raises:
        RunFolderError: no run can be compared, or none has the metric or a key.
        UnsupportedError: they cannot be compared: other data, budgets, measures or definitions.
    """
    different = {run.path.resolve(): run for run in runs}
    usable, left_out = _usable(different.values())
    for key in by:
        check_known(key, usable, "--by")
    measured = {run.path: measured_by(run, metric) for run in usable}
    within = any(found.meaning is not None and found.meaning.within for found in measured.values())
    placed, former = places(different.values(), by, within)
    left_out += [(str(run.path), NO_CELL) for run in usable if run.path in former]
    usable = [run for run in usable if run.path not in former]
    if not usable:
        _nothing(left_out)
    check_protocols(usable, [placed[run.path].identity for run in usable])
    check_versions(usable)
    if all(measured[run.path].value is None for run in usable):
        no_metric(usable, metric)
    left_out += [(str(run.path), reason) for run in usable if (reason := measured[run.path].missing)]
    cells = tuple(_cell(placed[run.path], measured[run.path]) for run in usable if not measured[run.path].missing)
    if not cells:
        _nothing(left_out)
    check_cells(cells)
    if not any(key.split(".")[0] == "stream" for key in by):
        check_data(cells)
    scores = Scores(
        cells,
        tuple(dict.fromkeys(cell.learner for cell in cells)),
        tuple(dict.fromkeys(cell.stream for cell in cells)),
        tuple(left_out),
        tuple(_remarks(cells)),
    )
    runs_on = {name: [s for s in scores.streams if scores.values(name, s)] for name in scores.learners}
    if len(runs_on) > 1 and all(sum(stream in on for on in runs_on.values()) < 2 for stream in scores.streams):
        nothing_common(runs_on)
    return scores


def _usable(runs: Iterable[Run]) -> tuple[list[Run], list[tuple[str, str]]]:
    """Finished runs, and the others with their reasons."""
    reasons = [(run, unusable(run)) for run in runs]
    usable = [run for run, reason in reasons if not reason]
    left_out = [(str(run.path), reason) for run, reason in reasons if reason]
    if not usable:
        _nothing(left_out)
    return usable, left_out


def _nothing(left_out: Sequence[tuple[str, str]]) -> NoReturn:
    told = "".join(f"\n{path}: {reason}" for path, reason in left_out)
    raise RunFolderError(f"no finished run to compare; rlcl run goes on with those that are not finished{told}")


def _cell(place: Place, found: Measured) -> Cell:
    assert found.meaning is not None
    assert found.value is not None
    return Cell(place.run, place.learner, place.stream, found.metric, found.meaning, found.value)


def _remarks(cells: Sequence[Cell]) -> list[str]:
    found = []
    for what, key in {"revisions of the code": "git", "versions of packages": "packages"}.items():
        different = {str(cell.run.manifest.get(key)) for cell in cells}
        if len(different) > 1:
            found.append(f"runs of {len(different)} different {what} are compared (rlcl runs diff tells which)")
    return found
