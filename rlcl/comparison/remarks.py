"""What a reader should know beside the verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rlcl.comparison.scores import Scores
from rlcl.comparison.verdicts import ALL, Comparison

__all__ = ["remarks"]

FEW = 10  # seeds, below which a percentile bootstrap is known to be too narrow


def remarks(scores: Scores, comparisons: Sequence[Comparison], on_one_scale: bool) -> Iterator[str]:
    """Yields what limits a comparison.

    Args:
        scores: what is compared.
        comparisons: of all pairs.
        on_one_scale: whether values of several streams may be averaged.
    """
    if len(scores.learners) == 1:
        yield "there is one learner, and so nothing to compare it with"
    if any("failed" in reason for _, reason in scores.left_out):
        yield "runs failed and are left out: a learner looks better without the seeds that it failed with"
    if any(min(each.seeds) < 2 for each in comparisons):
        yield "one seed shows no spread: no interval and no test; five seeds are a start"
    yield from _pairing(scores, comparisons)
    yield from _streams(scores, on_one_scale)


def _pairing(scores: Scores, comparisons: Sequence[Comparison]) -> Iterator[str]:
    alone = [each for each in comparisons if each.stream != ALL]
    apart = [e for e in alone if not e.paired and min(e.seeds) > 1]
    if apart:
        yield "where seeds are not paired (they do not match, or --unpaired), differences are less certain"
    dropped = [
        f"{each.first} and {each.second} on {each.stream}"
        for each in alone
        if each.paired
        and any(len(scores.values(name, each.stream)) > each.seeds[0] for name in (each.first, each.second))
    ]
    if dropped:
        yield f"tests use the seeds that both have, not all, of {'; '.join(dropped)}"


def _streams(scores: Scores, on_one_scale: bool) -> Iterator[str]:
    if len(scores.streams) < 2:
        return
    learners, streams = scores.overall
    if partial := [name for name in scores.streams if name not in streams]:
        yield f"not every learner was run on {', '.join(partial)}: left out of what is over all streams"
    if partial := [name for name in scores.learners if name not in learners]:
        yield f"not run on every stream, and left out of what is over all of them: {', '.join(partial)}"
    if len(streams) < 2:
        return
    if not on_one_scale:
        yield (
            "streams have other units, so that nothing is averaged over them and only the order within each counts; "
            "--scale STREAM=LOW:HIGH puts them on one scale"
        )
    if any(1 < len(seeds[0]) < FEW for seeds in map(scores.seeds, learners)):
        yield f"with fewer than {FEW} seeds bootstrap intervals are somewhat too narrow"
    cut = [n for n in learners if any(len(scores.values(n, s)) > len(scores.seeds(n)[0]) for s in streams)]
    if cut:
        yield f"over all streams as many seeds count of each as there are of the one with the fewest: {', '.join(cut)}"
