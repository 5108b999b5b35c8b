"""Names of the learner and the stream of each run, the same in tables and on pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from rlcl.comparison.config_parts import ConfigParts, short_names, split_config
from rlcl.comparison.suites import suite_labels
from rlcl.tracking.runs import StoredRun

__all__ = ["FORMER_CELL", "RunLabels", "label_runs"]

FORMER_CELL = "no longer a cell of its suite"


@frozen
class RunLabels:
    """Learner and stream of a run in a comparison.

    Args:
        run: the stored run, finished or not.
        parts: its config in parts.
        learner, stream: short names of the learner and the stream.
    """

    run: StoredRun
    parts: ConfigParts
    learner: str
    stream: str


def label_runs(
    runs: Iterable[StoredRun], by: Sequence[str] = (), within: bool = False
) -> tuple[Mapping[Path, RunLabels], frozenset[Path]]:
    """Return names for the learner and the stream of every run whose config can be read.

    Args:
        runs: finished and unfinished runs; unfinished runs are included so that a failure does not change the names of
            the other runs.
        by: see :func:`rlcl.comparison.scores.gather_scores`.
        within: whether the compared metric depends on the frequency of evaluations within experiences.

    Returns:
        The labels by path of the run, without runs that are no longer a cell of their suite, and the paths of these.
    """
    readable = [run for run in runs if run.config.get("learner") and run.config.get("stream")]
    labels_by_path, suites = suite_labels(readable)
    former = frozenset(path for path, labels in labels_by_path.items() if labels is None)
    current = [run for run in readable if run.path not in former]
    # The labels of two suites may have different meanings, and other runs have none: then only the settings are used.
    one_suite = suites == 1 and len(labels_by_path) >= len(current)
    parts = [split_config(run, within, by, labels_by_path[run.path] if one_suite else None) for run in current]
    names = _names(current, parts, by)
    by_path = {run.path: RunLabels(run, part, *pair) for run, part, pair in zip(current, parts, names, strict=True)}
    return by_path, former


def _names(runs: Sequence[StoredRun], parts: Sequence[ConfigParts], by: Sequence[str]) -> list[tuple[str, str]]:
    """Return short names of learner and stream, one pair per run."""
    learners = {part.learner_key: part.learner for part in parts}
    streams = {part.stream_key: part.stream for part in parts}
    roots: tuple[str, ...] = () if by else ("learner.type",)
    learner_names = dict(zip(learners, short_names(list(learners.values()), roots), strict=True))
    experiments: dict[str, set[str]] = {}
    for run, part in zip(runs, parts, strict=True):
        experiments.setdefault(part.learner_key, set()).add(str(run.config.get("name")))
    experiment_names = {key: next(iter(names)) for key, names in experiments.items() if len(names) == 1}
    if not by and len(set(experiment_names.values())) == len(learners):  # each learner has its own experiment name
        learner_names = experiment_names
    roots = ("stream.type", "stream.env", "stream.data.type")
    stream_names = dict(zip(streams, short_names(list(streams.values()), roots), strict=True))
    return [(learner_names[part.learner_key], stream_names[part.stream_key]) for part in parts]
