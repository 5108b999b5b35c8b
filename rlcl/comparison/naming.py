"""Which learner and which stream each run is of, and what they are called: the same in tables and on pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from rlcl.comparison.identity import Identity, identify, labels
from rlcl.comparison.suites import labelled
from rlcl.tracking.runs import Run

__all__ = ["NO_CELL", "Place", "places"]

NO_CELL = "no cell of its suite any more"


@frozen
class Place:
    """Where a run stands in a comparison.

    Args:
        run: finished or not.
        identity: its config in parts.
        learner, stream: short names.
    """

    run: Run
    identity: Identity
    learner: str
    stream: str


def places(
    runs: Iterable[Run], by: Sequence[str] = (), within: bool = False
) -> tuple[Mapping[Path, Place], frozenset[Path]]:
    """Names the learner and the stream of every run whose config can be read.

    Args:
        runs: finished or not, so that a run that fails does not change what the others are called.
        by: see :func:`rlcl.comparison.scores.gather`.
        within: whether it matters how often was evaluated within experiences.

    Returns:
        By the run's path, without those that are no cell of their suite any more, and the paths of these.
    """
    readable = [run for run in runs if run.config.get("learner") and run.config.get("stream")]
    cells, suites = labelled(readable)
    former = frozenset(path for path, cell in cells.items() if cell is None)
    kept = [run for run in readable if run.path not in former]
    # Labels of two suites may mean different things: beside others, settings alone say what is what.
    one = suites == 1 and len(cells) >= len(kept)
    identities = [identify(run, within, by, cells[run.path] if one else None) for run in kept]
    names = _named(kept, identities, by)
    made = {r.path: Place(r, each, *pair) for r, each, pair in zip(kept, identities, names, strict=True)}
    return made, former


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
