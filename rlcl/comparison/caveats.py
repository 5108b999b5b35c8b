"""Limitations of a comparison that a reader should know in addition to the verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rlcl.comparison.scores import Scores
from rlcl.comparison.verdicts import ALL_STREAMS, PairComparison

__all__ = ["caveats"]

MIN_SEEDS = 10  # with fewer seeds, a percentile bootstrap is known to be too narrow


def caveats(scores: Scores, comparisons: Sequence[PairComparison], on_common_scale: bool) -> Iterator[str]:
    """Yield the limitations of a comparison.

    Args:
        scores: scores of the compared runs.
        comparisons: comparisons of all pairs of learners.
        on_common_scale: whether values of several streams may be averaged.
    """
    if len(scores.learners) == 1:
        yield "there is only one learner, so nothing is compared"
    if any("failed" in reason for _, reason in scores.left_out):
        yield "failed runs are left out, which makes a learner look better than it is"
    if any(min(comparison.seeds) < 2 for comparison in comparisons):
        yield "one seed gives neither an interval nor a test; use at least five seeds"
    yield from _pairing_caveats(scores, comparisons)
    yield from _stream_caveats(scores, on_common_scale)


def _pairing_caveats(scores: Scores, comparisons: Sequence[PairComparison]) -> Iterator[str]:
    on_streams = [comparison for comparison in comparisons if comparison.stream != ALL_STREAMS]
    unpaired = [c for c in on_streams if not c.paired and min(c.seeds) > 1]
    if unpaired:
        yield "differences are less certain if seeds are not paired (different seeds, or --unpaired)"
    reduced = [
        f"{c.first} and {c.second} on {c.stream}"
        for c in on_streams
        if c.paired and any(len(scores.values(name, c.stream)) > c.seeds[0] for name in (c.first, c.second))
    ]
    if reduced:
        yield f"tests use only the seeds that both learners have, for {'; '.join(reduced)}"


def _stream_caveats(scores: Scores, on_common_scale: bool) -> Iterator[str]:
    if len(scores.streams) < 2:
        return
    learners, streams = scores.overall
    if partial := [name for name in scores.streams if name not in streams]:
        yield f"not every learner has runs on {', '.join(partial)}: aggregates over streams do not include them"
    if partial := [name for name in scores.learners if name not in learners]:
        yield f"aggregates over streams do not include learners without runs on every stream: {', '.join(partial)}"
    if len(streams) < 2:
        return
    if not on_common_scale:
        yield (
            "streams have different units, so nothing is averaged over them and only the order within each stream is "
            "compared; --scale STREAM=LOW:HIGH defines a common scale"
        )
    if any(1 < len(seeds[0]) < MIN_SEEDS for seeds in map(scores.seeds, learners)):
        yield f"with fewer than {MIN_SEEDS} seeds bootstrap intervals are somewhat too narrow"
    cut = [n for n in learners if any(len(scores.values(n, s)) > len(scores.seeds(n)[0]) for s in streams)]
    if cut:
        yield (
            "aggregates over streams use the same number of seeds on every stream, and leave out the other seeds of "
            f"{', '.join(cut)}"
        )
