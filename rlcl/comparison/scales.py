"""Values that count as 0 and 1 on each stream, for streams with different units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatch

from rlcl.comparison.scores import Scores
from rlcl.errors import Problem, did_you_mean

__all__ = ["read_scales"]


def read_scales(options: Sequence[str], scores: Scores) -> dict[str, tuple[float, float]]:
    """Return the values that count as 0 and 1, by stream.

    Args:
        options: texts ``STREAM=LOW:HIGH`` in the unit of the metric; STREAM is a name, a part of a name or a pattern.
        scores: scores with the streams.

    Raises:
        Problem: an option cannot be read or matches no stream, or a stream has no scale while others have one.
    """
    scales: dict[str, tuple[float, float]] = {}
    for option in options:
        pattern, equals, ends = option.rpartition("=")
        try:
            low, high = (float(end) for end in ends.split(":"))
        except ValueError:
            low = high = math.nan
        if not equals or not low < high or math.isinf(low) or math.isinf(high):
            raise Problem(
                f"--scale {option}: expected STREAM=LOW:HIGH with finite numbers, LOW below HIGH, such as "
                "'CartPole*=0:500'"
            )
        streams = [s for s in scores.streams if fnmatch(s, pattern) or fnmatch(s, f"*{pattern}*")]
        if not streams:
            raise Problem(f"--scale {option}: no stream matches {pattern}{did_you_mean(pattern, scores.streams)}")
        scales |= dict.fromkeys(streams, (low, high))
    without = [stream for stream in scores.common_streams if scales and stream not in scales]
    if without:
        raise Problem(f"--scale: no scale for {', '.join(without)}; define one for every stream, or for none")
    return scales
