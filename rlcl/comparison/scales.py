"""What counts as 0 and as 1 on each stream, where values have other units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatch

from rlcl.comparison.scores import Scores
from rlcl.errors import Problem, did_you_mean

__all__ = ["read_scales"]


def read_scales(given: Sequence[str], scores: Scores) -> dict[str, tuple[float, float]]:
    """Low and high of each stream.

    Args:
        given: ``STREAM=LOW:HIGH`` each, in the metric's own unit; the stream a name, a pattern or a part of one.
        scores: whose streams they are of.

    Raises:
        Problem: one cannot be read or matches no stream, or a stream is left without.
    """
    found: dict[str, tuple[float, float]] = {}
    for text in given:
        pattern, equals, ends = text.rpartition("=")
        try:
            low, high = (float(end) for end in ends.split(":"))
        except ValueError:
            low = high = math.nan
        if not equals or not low < high or math.isinf(low) or math.isinf(high):
            raise Problem(f"--scale {text}: expected STREAM=LOW:HIGH, low below high, such as 'CartPole*=0:500'")
        chosen = [s for s in scores.streams if fnmatch(s, pattern) or fnmatch(s, f"*{pattern}*")]
        if not chosen:
            raise Problem(f"--scale {text}: no stream matches {pattern}{did_you_mean(pattern, scores.streams)}")
        found |= dict.fromkeys(chosen, (low, high))
    without = [stream for stream in scores.common if found and stream not in found]
    if without:
        raise Problem(f"--scale: none for {', '.join(without)}; name one for each stream, or none at all")
    return found
