"""What cannot be compared fairly is refused, with the two runs that show it and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlcl.comparison.cells import Cell, measured_by
from rlcl.comparison.identity import Identity
from rlcl.errors import UnsupportedError
from rlcl.tracking.runs import Run

__all__ = ["check_cells", "check_data", "check_protocols", "check_versions", "nothing_common"]


def check_protocols(runs: Sequence[Run], identities: Sequence[Identity]) -> None:
    """Budget, validation split and evaluation must be the same on one stream."""
    first: dict[str, int] = {}
    for place, identity in enumerate(identities):
        other = first.setdefault(identity.stream_key, place)
        for key in {**identities[other].protocol, **identity.protocol}:
            pair = [identities[i].protocol.get(key) for i in (other, place)]
            if pair[0] != pair[1]:
                unset = ["none" if value is None else value for value in pair]
                raise UnsupportedError(
                    f"{key} is {unset[0]} in {runs[other].path} and {unset[1]} in {runs[place].path}: on one stream "
                    f"all learners need the same; compare fewer runs, or say that this is compared: --by {key}"
                )


def check_versions(runs: Sequence[Run]) -> None:
    """All must have been evaluated by the same definitions; runs from before there was a number are of version 1."""
    versions = {str(run.summary.get("metrics_version", 1)): run for run in runs}
    if len(versions) > 1:
        (a, one), (b, two), *_ = sorted(versions.items())
        raise UnsupportedError(
            f"{one.path} was evaluated by version {a} of the metrics and {two.path} by version {b}, which give other "
            "numbers; run the older one anew (rlcl runs rm, then rlcl run)"
        )


def check_cells(cells: Sequence[Cell]) -> None:
    """A seed is there once for each learner and stream, and a stream has one metric."""
    seen: dict[tuple[str, str, int], Cell] = {}
    metrics: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault((cell.learner, cell.stream, cell.seed), cell)
        if other is not cell:
            raise UnsupportedError(
                f"seed {cell.seed} of {cell.learner} on {cell.stream} is there twice: {other.run.path} and "
                f"{cell.run.path}; name one of them, or say by which keys they differ with --by"
            )
        other = metrics.setdefault(cell.stream, cell)
        if (other.metric, other.meaning.measure) != (cell.metric, cell.meaning.measure):
            of = [f"{each.metric} (of {each.meaning.measure})" for each in (other, cell)]
            raise UnsupportedError(
                f"{other.learner} is measured by {of[0]} and {cell.learner} by {of[1]}; {_shared(other, cell)}"
            )

    opposed = next((cell for cell in cells if cell.meaning.better != cells[0].meaning.better), None)
    if opposed is not None:
        raise UnsupportedError(
            f"of {cells[0].metric} {cells[0].meaning.better} values are better in {cells[0].run.path}, and of "
            f"{opposed.metric} {opposed.meaning.better} ones in {opposed.run.path}; give the two metrics two names"
        )


def _shared(a: Cell, b: Cell) -> str:
    """The metrics that two runs could be compared by; forgetting and transfer are about a run's first measure."""
    names = [name for name in a.run.metrics if name in b.run.metrics]
    found = {name: [measured_by(cell.run, name).meaning for cell in (a, b)] for name in names}
    alike = [name for name, (one, two) in found.items() if one and two and one.measure == two.measure]
    return f"name one that all have with --metric: {', '.join(alike)}" if alike else "they have none in common"


def check_data(cells: Sequence[Cell]) -> None:
    """The same stream under the same seed must have had the same data."""
    seen: dict[tuple[str, int], Cell] = {}
    for cell in cells:
        other = seen.setdefault((cell.stream, cell.seed), cell)
        if other.run.manifest["data"] != cell.run.manifest["data"]:
            raise UnsupportedError(
                f"{other.run.path} and {cell.run.path} saw other data, although stream and seed are the same: the "
                "data have changed in between; run the older one anew (rlcl runs rm, then rlcl run)"
            )


def nothing_common(streams: Mapping[str, Sequence[str]]) -> None:
    """Refuses learners of which no two share a stream; ``streams`` are those of each."""
    told = "; ".join(f"{learner} on {', '.join(names)}" for learner, names in streams.items())
    raise UnsupportedError(
        f"there is no stream that two learners were run on: {told}; compare runs of one stream, or say with --by "
        "what makes the learner"
    )
