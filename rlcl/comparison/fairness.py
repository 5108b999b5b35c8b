"""Checks that a comparison is fair; each error names two runs that differ, and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlcl.comparison.config_parts import ConfigParts
from rlcl.comparison.run_scores import RunScore, run_metric
from rlcl.errors import UnsupportedError
from rlcl.tracking.runs import StoredRun

__all__ = ["check_data", "check_protocols", "check_run_scores", "check_versions", "raise_no_common_stream"]


def check_protocols(runs: Sequence[StoredRun], parts: Sequence[ConfigParts]) -> None:
    """Check that budget, validation split and evaluation are equal for all runs on a stream."""
    first: dict[str, int] = {}
    for index, part in enumerate(parts):
        other = first.setdefault(part.stream_key, index)
        for key in {**parts[other].protocol, **part.protocol}:
            pair = [parts[i].protocol.get(key) for i in (other, index)]
            if pair[0] != pair[1]:
                texts = ["none" if value is None else value for value in pair]
                raise UnsupportedError(
                    f"{key} is {texts[0]} in {runs[other].path} and {texts[1]} in {runs[index].path}: it must be equal "
                    f"for all learners on a stream; compare fewer runs, or compare different values with --by {key}"
                )


def check_versions(runs: Sequence[StoredRun]) -> None:
    """Check that all runs were evaluated with one version of the metrics; runs without a version have version 1."""
    versions = {str(run.summary.get("metrics_version", 1)): run for run in runs}
    if len(versions) > 1:
        (a, one), (b, two), *_ = sorted(versions.items())
        raise UnsupportedError(
            f"{one.path} was evaluated by version {a} of the metrics and {two.path} by version {b}, which compute "
            "different values; repeat the older run (rlcl runs rm, then rlcl run)"
        )


def check_run_scores(run_scores: Sequence[RunScore]) -> None:
    """Check that each learner has one run per seed and stream, and that each stream has one metric."""
    by_seed: dict[tuple[str, str, int], RunScore] = {}
    by_stream: dict[str, RunScore] = {}
    for score in run_scores:
        other = by_seed.setdefault((score.learner, score.stream, score.seed), score)
        if other is not score:
            raise UnsupportedError(
                f"seed {score.seed} of {score.learner} on {score.stream} has two runs: {other.run.path} and "
                f"{score.run.path}; name only one of them, or name the keys in which they differ with --by"
            )
        other = by_stream.setdefault(score.stream, score)
        if (other.metric, other.meaning.measure) != (score.metric, score.meaning.measure):
            texts = [f"{s.metric} (of {s.meaning.measure})" for s in (other, score)]
            raise UnsupportedError(
                f"{other.learner} is measured by {texts[0]} and {score.learner} by {texts[1]}; "
                f"{_common_metrics_hint(other, score)}"
            )

    opposite = next((score for score in run_scores if score.meaning.better != run_scores[0].meaning.better), None)
    if opposite is not None:
        raise UnsupportedError(
            f"{run_scores[0].meaning.better} values of {run_scores[0].metric} are better in {run_scores[0].run.path}, "
            f"and {opposite.meaning.better} values of {opposite.metric} in {opposite.run.path}; give the two metrics "
            "different names"
        )


def _common_metrics_hint(a: RunScore, b: RunScore) -> str:
    """Return a hint with the metrics by which two runs can be compared.

    Forgetting and transfer have the same name in both runs, but are computed from the first measure of each run.
    """
    names = [name for name in a.run.metrics if name in b.run.metrics]
    meanings = {name: [run_metric(score.run, name).meaning for score in (a, b)] for name in names}
    common = [name for name, (one, two) in meanings.items() if one and two and one.measure == two.measure]
    return f"choose a common metric with --metric: {', '.join(common)}" if common else "they have no common metric"


def check_data(run_scores: Sequence[RunScore]) -> None:
    """Check that runs on the same stream with the same seed used the same data."""
    first: dict[tuple[str, int], RunScore] = {}
    for score in run_scores:
        other = first.setdefault((score.stream, score.seed), score)
        if other.run.manifest["data"] != score.run.manifest["data"]:
            raise UnsupportedError(
                f"{other.run.path} and {score.run.path} used different data, although stream and seed are equal: the "
                "data have changed between the two runs; repeat the older run (rlcl runs rm, then rlcl run)"
            )


def raise_no_common_stream(streams: Mapping[str, Sequence[str]]) -> None:
    """Raise UnsupportedError for learners of which no two share a stream.

    Args:
        streams: streams of each learner.
    """
    listing = "; ".join(f"{learner} on {', '.join(names)}" for learner, names in streams.items())
    raise UnsupportedError(
        f"no stream has runs of two learners: {listing}; compare runs on the same stream, or name the keys that "
        "identify a learner with --by"
    )
